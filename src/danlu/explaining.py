"""The promises of what explains an answer; to be imported from `contracts.py`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from danlu.core.settings import Plugin
from danlu.values import Answer


@dataclass(frozen=True)
class Piece:
    """A part of an input: a stretch of a text, or a box of a picture."""

    text: str
    """What stands there; empty for a part of a picture."""
    place: tuple[int, ...]
    """Begin and end in characters; of a picture top, left, bottom and right in pixels."""
    field: str = ""
    """The text it is part of, where an input has several."""


@dataclass(frozen=True)
class Explanation:
    """What each piece of an input did to one number of its answer."""

    answer: Answer
    number: str
    """Which number is explained, in words."""
    value: float
    """That number for the whole input."""
    base: float | None
    """That number with every piece taken away; None where the model does not answer an input with nothing in it."""
    pieces: tuple[Piece, ...]
    weights: tuple[float, ...]
    """What each piece adds to the number; below 0 it speaks against the answer."""
    notes: tuple[str, ...] = ()
    """What a reader should know of this explanation."""

    def strongest(self) -> list[int]:
        """The places of the pieces, those with the greatest weight in either direction first."""
        return sorted(range(len(self.weights)), key=lambda k: (-abs(self.weights[k]), k))

    def plain(self) -> dict[str, Any]:
        """As JSON values, the pieces in the order of the input."""
        parts = [
            {"text": piece.text, "place": list(piece.place), "field": piece.field, "weight": weight}
            for piece, weight in zip(self.pieces, self.weights, strict=True)
        ]
        told = {"answer": self.answer, "number": self.number, "value": self.value, "base": self.base}
        return {**told, "pieces": parts, "notes": list(self.notes)}


class Explainer(Plugin):
    """Tells what the pieces of an input did to its answer. It asks a predictor and never draws."""

    family: ClassVar[str] = "explainers"

    @abstractmethod
    def explain(
        self, predictor: Any, inputs: Sequence[Any], told: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Explanation]:
        """One explanation for each input, whatever the others are; `told` hears how many of how many are done. One of
        an input that has nothing to take away has no pieces, and a note.

        Raises DataError for an input that the model does not answer, RecipeError for a model that it can't explain.
        """
