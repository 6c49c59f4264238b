"""What a masked language model of ours finds likely in the place of words, for operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from danlu import bundle
from danlu.blocks import masking, words
from danlu.core.errors import DataError
from danlu.predictor import Predictor


class Gapped(NamedTuple):
    """A text, and the places (begin, end) of the words in it that are asked for, ascending."""

    text: str
    places: tuple[tuple[int, int], ...]


class Likely(NamedTuple):
    """Words for a gap, the likeliest first, and their probabilities, which add up to 1."""

    words: tuple[str, ...]
    shares: np.ndarray[Any, np.dtype[np.float64]]


class Filler:
    """A masked language model that is asked for whole words; for a Chinese character, for another one."""

    def __init__(self, folder: Path, most: int) -> None:
        """`folder` is that of a model, the one with `forms.json`; `most` words are given for a gap.

        Raises DataError for a model of another kind.
        """
        forms = bundle.Forms.open(folder)
        self._predictor: Predictor = bundle.load(forms.folder(forms.default))
        processor: Any = self._predictor.processor
        mask = processor.special("mask_token") if hasattr(processor, "special") else None
        if self._predictor.task.head().per != "gap" or mask is None:
            what = f"a model of the task {self._predictor.task.name} fills no gaps"
            raise DataError(what, where=str(folder), do="name a model that `pretrain` made for the task masked_lm")
        self._most, self._processor, self._mask = most, processor, mask
        self.sign = str(processor.token(mask))
        """How a gap is written."""
        begins, special = processor.begins_words(), processor.specials()
        told = [processor.text([k]).strip() if begins[k] and k not in special else "" for k in range(processor.size)]
        self._words = np.array(told, dtype=object)
        unspaced = np.array([len(word) == 1 and words.is_unspaced(word) for word in told])
        spaced = np.array([words.is_word(word) for word in told])
        self._kinds = {True: np.flatnonzero(unspaced), False: np.flatnonzero(spaced)}

    def knows(self, word: str) -> bool:
        """Whether there are words to put in the place of one of this script."""
        return len(self._kinds[words.is_unspaced(word[0])]) > 1

    def likely(self, asked: Iterable[Gapped]) -> Mapping[Gapped, list[Likely]]:
        """What may stand at each place of each text, other than what stands there.

        Places that the model can't see, since the text is too long for it, are left out. Which texts share a batch is
        a matter of what is asked, not of its order.
        """
        masked = {one: self._masked(one) for one in sorted(set(asked))}
        waiting = [one for one in sorted(masked, key=lambda one: (len(masked[one][0]), one)) if len(masked[one][1])]
        found: dict[Gapped, list[Likely]] = {one: [] for one in masked}
        for start in range(0, len(waiting), self._predictor.batch_size):
            few = waiting[start : start + self._predictor.batch_size]
            outputs = self._predictor.ask([masking.asked(*masked[one]) for one in few])
            for one, arrays in zip(few, outputs, strict=True):
                scores = np.asarray(arrays["logits"], dtype=np.float64)
                seen = zip(one.places, scores[: len(masked[one][1])], strict=False)
                found[one] = [self._best(one.text[begin:end], row) for (begin, end), row in seen]
        return found

    def _masked(self, one: Gapped) -> tuple[Any, Any]:
        """The ids of the text with its gaps, and where the gaps are."""
        parts, done = list[str](), 0
        for begin, end in one.places:
            parts += [one.text[done:begin], self.sign]
            done = end
        ids = self._processor.inputs("".join([*parts, one.text[done:]]))["input_ids"]
        return ids, np.flatnonzero(ids == self._mask)

    def _best(self, word: str, scores: Any) -> Likely:
        kind = self._kinds[words.is_unspaced(word[0])]
        kind = kind[kind < len(scores)]
        kind = kind[np.argsort(-scores[kind], kind="stable")[: 2 * self._most]]
        kind = kind[[name.casefold() != word.casefold() for name in self._words[kind]]][: self._most]
        shares = np.exp(scores[kind] - scores[kind].max(initial=-np.inf)) if len(kind) else np.zeros(0)
        if not np.isfinite(shares).all():
            raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
        return Likely(tuple(self._words[kind]), shares / shares.sum())
