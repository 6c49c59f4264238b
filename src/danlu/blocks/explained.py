"""Which number of an answer is explained, and whether an explanation tells the truth about the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.blocks.dissect import at_once, without
from danlu.blocks.intervals import resamples
from danlu.contracts import Answer
from danlu.core.errors import RecipeError
from danlu.explaining import Explanation

_LEAST = 1e-7
_SHARE = 0.2
_DRAWS = 3
"""Times that as many pieces are taken away by chance."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Number:
    """A number of an answer: its name, and how it is read off an answer to another input."""

    name: str
    read: Callable[[Answer], float]
    """The score of the label between 0 and 1, or the value."""
    odds: bool
    """Whether it is a score, whose logarithm of the odds is explained: near 0 and 1 a score hardly moves."""

    def of(self, answer: Answer) -> float:
        """The number that is explained."""
        read = self.read(answer)
        if not self.odds:
            return read
        share = min(max(read, _LEAST), 1 - _LEAST)
        return math.log(share / (1 - share))


def number_of(answer: Answer) -> Number:
    """The number explained of an answer: the log-odds of its label, of several the likeliest one's; else its value.

    Raises RecipeError for an answer of another kind.
    """
    scores = answer.get("scores") if isinstance(answer, dict) else None
    if scores:
        label = answer.get("label") or max(scores, key=scores.get)
        return Number(f"log-odds of {label}", lambda other: float(other["scores"][label]), True)
    if isinstance(answer, dict) and isinstance(answer.get("value"), float | int):
        return Number("the value", lambda other: float(other["value"]), False)
    raise RecipeError("its answers have no label and no value, so there is no number to explain", do="leave it out")


def faithfulness(
    predictor: Any,
    explanations: Sequence[Explanation],
    inputs: Sequence[Any],
    seed: int,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """By how much the explained score falls without the fifth of the pieces that speak most for it, and without as many
    drawn by chance (comprehensiveness; DeYoung et al., 2020, section 5).

    Returns `{share, rows, fall, by_chance, low, high, holds}`: the mean falls, the 95 % interval of their paired
    difference, and whether all of it lies above 0. Rows with fewer than two pieces are left out.
    """
    rng, asked, size_at_once = np.random.default_rng(seed), list[Any](), at_once(predictor.task.gives["modality"])
    for k, explanation in enumerate(explanations):
        size = len(explanation.weights)
        if size < 2:
            continue
        count = max(1, round(_SHARE * size))
        chosen = np.argsort(-np.array(explanation.weights), kind="stable")[:count].tolist()
        draws = [rng.choice(size, count, replace=False).tolist() for _ in range(_DRAWS)]
        asked += [(k, draw, gone) for draw, gone in enumerate([chosen, *draws])]
    falls: dict[int, dict[int, float]] = {}
    for start in range(0, len(asked), size_at_once):
        told(start, len(asked))
        chunk = asked[start : start + size_at_once]
        left = [without(inputs[k], [explanations[k].pieces[place] for place in gone]) for k, _, gone in chunk]
        for (k, draw, _), answer in zip(chunk, predictor.try_all(left), strict=True):
            if not isinstance(answer, Exception):
                number = number_of(explanations[k].answer)
                falls.setdefault(k, {})[draw] = number.read(explanations[k].answer) - number.read(answer)
    whole = [found for found in falls.values() if len(found) == 1 + _DRAWS]
    ours = np.array([found[0] for found in whole])
    chance = np.array([np.mean([found[1 + d] for d in range(_DRAWS)]) for found in whole])
    return _compared(ours, chance, seed)


def _compared(ours: np.ndarray[Any, Any], chance: np.ndarray[Any, Any], seed: int) -> dict[str, Any]:
    rows = len(ours)
    found: dict[str, Any] = {"share": _SHARE, "rows": rows, "fall": None, "by_chance": None, "low": None, "high": None}
    if rows < 2:
        return found | {"holds": False}
    drawn = [float((ours - chance) @ weights / rows) for weights in resamples(rows, _RESAMPLES, seed)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    found |= {"fall": float(ours.mean()), "by_chance": float(chance.mean()), "low": float(low), "high": float(high)}
    return found | {"holds": bool(low > 0)}
