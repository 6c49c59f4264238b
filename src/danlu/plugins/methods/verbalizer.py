"""A pattern with a gap, and the words that fill it for each label (PET; Schick and Schütze, 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator
from torch import nn

from danlu.blocks import patterns
from danlu.contracts import Head, Method
from danlu.core.errors import RecipeError

_MASK = "{mask}"


class Verbalizer(Method):
    """Asks a masked language model for the word in a gap, and takes the label whose words fit it best.

    No head is new, so few rows teach much, and without any row the model answers from what it read before
    (`learn: false`). The score of a label is the mean of its words' scores at the gap, the loss that of the task. The
    backbone must have been pre-trained to fill gaps: `base: $pretrained` of a step with `masked_lm`, or the folder of
    such a model. A word must be one token of its tokenizer; others are refused.
    """

    gives: ClassVar[Mapping[str, str]] = {"parts": "stay"}
    nothing_when: ClassVar[Mapping[str, Any] | None] = {"learn": False}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "learning": ("descent",), "modality": ("text",), "head": ("input",), "answer": ("label",),
        "layers": ("attention",),
    }  # fmt: skip

    pattern: str = "{text} It was {mask}."
    """How a text is asked about; `{text}` and `{mask}` stand in it once each."""
    words: Mapping[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """What fills the gap for each label, one word or several; by default the label itself."""
    learn: bool = True
    """Whether the weights are trained; else the answers are those of the pre-training."""
    written: patterns.Pattern | None = None
    """The pattern in ids; made when training starts."""
    hole: int = 0
    """Where the gap is in it; found when training starts."""
    ids: tuple[tuple[int, ...], ...] = ()
    """The words' ids; found when training starts."""

    @field_validator("pattern")
    @classmethod
    def _has_its_gaps(cls, pattern: str) -> str:
        patterns.check(pattern, (patterns.TEXT, _MASK))
        return pattern

    def told(self, head: Head, processor: Any) -> Self:
        """The pattern in ids. Raises RecipeError for a word that is no single token, or stands for two labels."""
        mask = getattr(processor, "special", lambda _: None)("mask_token")
        if mask is None:
            what = "the tokenizer has no token for a gap"
            raise RecipeError(what, where="backbone", do="base: $step of a masked language model")
        before, after = patterns.halves(self.pattern, [_MASK], f"method.{self.name}.pattern")
        lead, end = patterns.framed(processor)
        ids = [processor.ids(part.replace(_MASK, processor.token(mask))) for part in (before, after)]
        made = patterns.Pattern(lead=lead, drop=len(end), before=tuple(ids[0]), tails=((*ids[1], *end),))
        hole = ids[1].index(mask) if mask in ids[1] else ids[0].index(mask) - len(ids[0])
        found = tuple(tuple(self._id(word, label, processor) for word in some) for label, some in self._words(head))
        self._check_apart(head, found, processor)
        return self.model_copy(update={"written": made, "hole": hole, "ids": found})

    def _words(self, head: Head) -> list[tuple[str, tuple[str, ...]]]:
        if strange := sorted(self.words.keys() - set(head.labels)):
            what = f"{strange[0]!r} has words, and is no label; the labels are: {', '.join(head.labels[:20])}"
            raise RecipeError(what, where=f"method.{self.name}.words", do="name the labels as the data set does")
        given = [(label, self.words.get(label, label)) for label in head.labels]
        return [(label, (some,) if isinstance(some, str) else tuple(some)) for label, some in given]

    def _id(self, word: str, label: str, processor: Any) -> int:
        space = " " if self.pattern.partition(_MASK)[0][-1:].isspace() else ""
        ids = processor.ids(f"{space}{word}")
        if len(ids) == 1 and ids[0] != processor.special("unk_token"):
            return int(ids[0])
        cut = " ".join(processor.token(one) for one in ids) or "nothing"
        what = f"the word {word!r} of the label {label!r} is no single token of the tokenizer, which makes {cut} of it"
        where = f"method.{self.name}.words"
        raise RecipeError(what, where=where, do=f"{where}={{{label}: another word}}")

    def _check_apart(self, head: Head, found: tuple[tuple[int, ...], ...], processor: Any) -> None:
        where = f"method.{self.name}.words"
        if empty := [label for label, some in zip(head.labels, found, strict=True) if not some]:
            raise RecipeError(f"the label {empty[0]!r} has no word", where=where, do=f"{where}={{{empty[0]}: a word}}")
        every = [one for some in found for one in some]
        if twice := [one for one in every if every.count(one) > 1]:
            what = f"the word {processor.token(twice[0])!r} stands for more than one label, or twice for one"
            raise RecipeError(what, where=where, do="give every label words of its own")

    def head(self, head: Head) -> Head:
        return Head("gap")

    def resolve(self, fresh: list[str]) -> Self:
        """Raises RecipeError where the words' scores were never trained."""
        if fresh:
            what = f"the model was not trained to fill gaps: {fresh[0]} is random"
            raise RecipeError(what, where="backbone", do="base: $step of a pretrain step with the task masked_lm")
        return self

    def wrap(self, model: nn.Module) -> nn.Module:
        assert self.written is not None
        return patterns.Gaps(model, self.written, self.hole, self.ids).requires_grad_(self.learn)

    def changes_structure(self) -> bool:
        return True
