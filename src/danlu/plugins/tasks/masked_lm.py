"""Fill in masked tokens (Devlin et al., 2019)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from danlu.blocks import likelihood, masking
from danlu.blocks.sentence_pairs import Pairs, framed
from danlu.blocks.text_task import TextTask
from danlu.contracts import Answer, Arrays, Batch, Example, Head
from danlu.core import plugin
from danlu.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    from torch import Tensor

_functional: Any = plugin.lazy("torch.nn.functional")
_BEST = 5


class MaskedLm(TextTask):
    """Pre-training of an encoder on texts alone: some tokens are hidden, the model says what they were.

    Give it a text with the tokenizer's mask in it (`the [MASK] of the story`) and it fills the gaps: the answer is
    `{"text": str, "gaps": [[{"token": str, "probability": float}, …], …]}`, the likeliest five for each gap. Asked
    `{"how_likely": text}` it hides some tokens of the text itself and answers `{"nll", "tokens", "characters"}`, which
    `perplexity` judges. One trained with `next_sentence` is also asked `{"text": first, "follows": second}`, and
    answers `{"follows": probability}`.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "gap", "answer": "likelihood"}
    share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are asked for."""
    unit: Literal["token", "word", "span"] = "token"
    """What is hidden at once: tokens, all pieces of a word, or spans of some words (SpanBERT; Joshi et al., 2020)."""
    left: float = Field(default=0.1, ge=0, le=1)
    """Share of the asked tokens that are left as they are instead of masked."""
    swapped: float = Field(default=0.1, ge=0, le=1)
    """Share of the asked tokens that are replaced by a random one instead of masked."""

    next_sentence: bool = False
    """Learn too whether the second half of an example follows the first or comes from elsewhere (Devlin et al., 2019);
    for `bert`. Examples are then windows of single texts, padded, in place of packed blocks."""

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        text = likelihood.scored(x)
        return {self.columns().ask[0]: answer["text"] if text is None else text}

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        masking.Vocabulary.of(processor)
        [ids] = processor.cut([self.material(row)])
        blocks = (np.array(ids[k : k + self.length], dtype=np.int64) for k in range(0, len(ids), self.length))
        return [self.block(block, np.ones_like(block), processor) for block in blocks if len(block)]

    def pack(self, rows: Any, processor: Any, folder: Path, key: Sequence[str], told: Any) -> Sequence[Example]:
        masking.Vocabulary.of(processor)  # said before a corpus is cut
        if not self.next_sentence:
            return super().pack(rows, processor, folder, key, told)
        likelihood.check_length(processor, self.length, self.name)
        corpus = likelihood.corpus(map(self.material, rows()), processor, folder, key, told)
        return Pairs(corpus, self.length, _frame(processor), partial(self._pair, processor=processor))

    def _pair(self, pairs: Pairs, place: int, processor: Any, rng: np.random.Generator | None = None) -> Example:
        rng = rng or np.random.default_rng(place)
        ids, types, strange = pairs.drawn(place, rng)
        made = self._hide(ids, np.ones_like(ids), masking.Vocabulary.of(processor), rng)
        targets = {**made.targets, "follows": np.int64(strange)}
        anew = partial(self._pair, pairs, place, processor)
        return replace(made, inputs={**made.inputs, "token_type_ids": types}, targets=targets, note=anew)

    def block(self, ids: Any, segments: Any, processor: Any) -> Example:
        """Hidden as its own content says: always the same; `vary` hides anew."""
        rng = np.random.default_rng(zlib.crc32(ids.tobytes()))
        return self._hide(ids, segments, masking.Vocabulary.of(processor), rng)

    def _hide(self, ids: Any, segments: Any, vocabulary: masking.Vocabulary, rng: np.random.Generator) -> Example:
        at = masking.choose(ids, vocabulary, self.share, self.unit, rng)
        hidden = masking.hide(ids, at, vocabulary, self.left, self.swapped, rng)
        inputs = {"input_ids": hidden, "segments": segments, "at": at}
        return Example(inputs, {"targets": ids[at]}, count=float(max(len(at), 1)), note=vocabulary)

    def vary(self, example: Example, rng: np.random.Generator) -> Example:
        if callable(example.note):  # one of a pair
            anew: Example = example.note(rng)
            return anew
        ids = np.array(example.inputs["input_ids"])
        ids[example.inputs["at"]] = example.targets["targets"]
        return self._hide(ids, example.inputs["segments"], example.note, rng)

    def head(self) -> Head:
        return Head("gap", 2 if self.next_sentence else 0)

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        """Of what is hidden; a pair's own loss counts as much as the mean of the tokens that it asks for."""
        hidden = likelihood.loss(outputs, batch)
        if "follows" not in batch.targets:
            return hidden
        pairs: Tensor = _functional.cross_entropy(outputs["follows"], batch.targets["follows"], reduction="none")
        both: Tensor = hidden + pairs * batch.count
        return both

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """The windows of a text that is scored, or the one example of a text with gaps."""
        text = likelihood.scored(x)
        if isinstance(x, Mapping) and "follows" in x:
            return [self._following(x, processor)]
        if text is None:
            return [self._gaps(x, processor)]
        vocabulary = masking.Vocabulary.of(processor)
        [ids] = processor.cut([text])
        made = []
        for window in likelihood.windows(ids, self.length, 0):
            block = np.array(window or [processor.pad_id], dtype=np.int64)
            rng = np.random.default_rng(zlib.crc32(block.tobytes()))
            at = masking.choose(block, vocabulary, self.share, self.unit, rng)
            hidden = masking.hide(block, at, vocabulary, 0.0, 0.0, rng)
            made.append(masking.asked(hidden, at, tokens=block[at]))
        return made

    def _following(self, x: Mapping[str, Any], processor: Any) -> Example:
        if not self.next_sentence:
            raise DataError("this model did not learn what follows", do="train it with next_sentence: true")
        first, then = (processor.cut([x[name]])[0] for name in ("text", "follows"))
        frame = _frame(processor)
        first, then = ([k for k in ids if k not in frame] for ids in (first, then))
        ids, types = framed(first, then, frame, self.length)
        made = masking.asked(ids, np.zeros(1, dtype=np.int64))
        return replace(made, inputs={**made.inputs, "token_type_ids": types})

    def _gaps(self, x: Any, processor: Any) -> Example:
        if not isinstance(x, str):
            raise DataError(f"a text must be a string, not {type(x).__name__}")
        ids = processor.inputs(x)["input_ids"]
        mask = masking.Vocabulary.of(processor).mask
        at = np.flatnonzero(ids == mask)
        if not len(at):
            what = f"there is no gap to fill: put {processor.token(mask)} where one is"
            raise DataError(what, do=f'or ask how likely the text is: {{"{likelihood.SCORE}": "…"}}')
        return masking.asked(ids, at)

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        if isinstance(x, Mapping) and "follows" in x:
            yes, no = np.asarray(outputs[0]["follows"], dtype=np.float64).tolist()
            return {"follows": float(1 / (1 + np.exp(np.clip(no - yes, -700, 700))))}
        text = likelihood.scored(x)
        if text is not None:
            return likelihood.likelihood(text, examples, outputs)
        gaps = [_best(scores, processor) for scores in outputs[0]["logits"][: examples[0].note]]
        ids = np.array(examples[0].inputs["input_ids"])
        ids[examples[0].inputs["at"]] = [gap[0]["id"] for gap in gaps]
        told = [[{"token": one["token"], "probability": one["probability"]} for one in gap] for gap in gaps]
        return {"text": processor.text(ids.tolist()), "gaps": told}

    def sample(self, n: int) -> list[dict[str, Any]]:
        return [{self.text or "text": masking.SAMPLE[k % len(masking.SAMPLE)]} for k in range(n)]

    def distance(self, a: Answer, b: Answer) -> float:
        if "follows" in a and "follows" in b:
            return abs(float(a["follows"]) - float(b["follows"]))
        if "gaps" in a and "gaps" in b:
            return masking.distance(a["gaps"], b["gaps"])
        return likelihood.distance(a, b) if "nll" in a and "nll" in b else 1.0

    def from_json(self, value: Any) -> Any:
        if isinstance(value, Mapping) and self.next_sentence and value.keys() == {"text", "follows"}:
            if all(isinstance(text, str) for text in value.values()):
                return value
            raise DataError('`{"text": first, "follows": second}` holds two texts')
        if not isinstance(value, str) and likelihood.scored(value) is None:
            raise DataError(f'an input is a text with gaps, or {{"{likelihood.SCORE}": text}}')
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, likelihood.ASKED, *([_PAIR] if self.next_sentence else [])]}

    def answer_schema(self) -> dict[str, Any]:
        return {"anyOf": [masking.SCHEMA, likelihood.SCHEMA, *([_FOLLOWS] if self.next_sentence else [])]}


def _frame(processor: Any) -> tuple[int, int]:
    begin, end = processor.special("cls_token"), processor.special("sep_token")
    if begin is None or end is None:
        what = "the tokenizer has no tokens that begin and end a text, so pairs can't be told apart"
        raise RecipeError(what, where="backbone", do="backbone=bert, or leave next_sentence out")
    return begin, end


_PAIR = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "follows": {"type": "string"}},
    "required": ["text", "follows"],
    "additionalProperties": False,
}
_FOLLOWS = {"type": "object", "properties": {"follows": {"type": "number"}}, "required": ["follows"]}


def _best(scores: Any, processor: Any) -> list[dict[str, Any]]:
    scores = np.asarray(scores, dtype=np.float64)
    scores = np.exp(scores - scores.max())
    scores /= scores.sum()
    if not np.isfinite(scores).all():
        raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
    order = np.argsort(-scores, kind="stable")[:_BEST].tolist()
    return [{"id": k, "token": processor.token(k), "probability": float(scores[k])} for k in order]
