"""Occlusion: what an answer is without each piece of the input (Zeiler and Fergus, 2014; Li et al., 2016)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from danlu.blocks.dissect import at_once, dissect, without
from danlu.blocks.explained import number_of
from danlu.explaining import Explainer, Explanation, Piece


class Occlusion(Explainer):
    """Takes one piece of an input away at a time and asks again: a word of a text, a square of a picture.

    The weight of a piece is by how much the number falls without it. It asks a model as any caller does, so it works
    for every form (ONNX, int8) and for models that count. It asks once more for each piece, and what it asks is not
    what people write: a model may be wrong there in ways that say little. Of two words that say the same, neither may
    be missed; for a linear model on single words a weight is exact.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text", "image"),
        "answer": ("label", "labels", "number"),
    }

    most: int = Field(default=200, ge=2)
    """The pieces that a text is cut into at most: of a longer one neighbouring words are taken away together. Of
    two texts one may have a piece more."""
    across: int = Field(default=8, ge=2, le=64)
    """Squares of a picture in each direction."""

    def explain(
        self, predictor: Any, inputs: Sequence[Any], told: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Explanation]:
        answers, modality = predictor(inputs), predictor.task.gives["modality"]
        cuts = [dissect(x, modality, most=self.most, across=self.across) for x in inputs]
        asked = [(k, place) for k, (pieces, _) in enumerate(cuts) for place in (*range(len(pieces)), None)]
        found: dict[tuple[int, int | None], Any] = {}
        size = at_once(modality)
        for start in range(0, len(asked), size):
            told(start, len(asked))
            chunk = asked[start : start + size]
            disturbed = [without(inputs[k], cuts[k][0] if p is None else [cuts[k][0][p]]) for k, p in chunk]
            found |= dict(zip(chunk, predictor.try_all(disturbed), strict=True))
        told(len(asked), len(asked))
        return [
            _explained(answer, *cut, [found[k, place] for place in range(len(cut[0]))], found[k, None])
            for k, (answer, cut) in enumerate(zip(answers, cuts, strict=True))
        ]


def _explained(answer: Any, pieces: tuple[Piece, ...], note: str, without: Sequence[Any], empty: Any) -> Explanation:
    number, notes = number_of(answer), [note] if note else []
    value = number.of(answer)
    if unanswered := sum(isinstance(one, Exception) for one in without):
        notes.append(f"without {unanswered} of its pieces the model gives no answer; they weigh 0 here")
    weights = tuple(0.0 if isinstance(one, Exception) else value - number.of(one) for one in without)
    base = None if isinstance(empty, Exception) else number.of(empty)
    return Explanation(answer, number.name, value, base, pieces, weights, tuple(notes))
