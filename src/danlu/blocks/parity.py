"""How far the answers of two forms of a model lie apart, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.contracts import Answer, Task, labels_of

TIE = 1e-6
"""Two labels whose scores are this close are a tie: arithmetic in another order may pick either."""
_ANOTHER = 0.5
_WORST = 10


@dataclass(frozen=True)
class Agreement:
    """Distances (`Task.distance`) and changed decisions, both of shape [rows]; `before` and `after` are decisions."""

    distances: np.ndarray[Any, np.dtype[np.float64]]
    changed: np.ndarray[Any, np.dtype[np.bool_]]
    before: list[Any]
    after: list[Any]

    @property
    def greatest(self) -> float:
        """The greatest distance; NaN when an answer is not comparable."""
        return float(self.distances.max())

    @property
    def p99(self) -> float:
        """The 99th percentile of the distances."""
        return float(np.percentile(self.distances, 99))

    @property
    def changed_share(self) -> float:
        return float(self.changed.mean())

    def per_label(self) -> dict[str, dict[str, int]]:
        """Decision before → `{rows, changed}`."""
        if not all(isinstance(decision, str | tuple) for decision in self.before):
            return {}
        rows = Counter(map(str, self.before))
        moved = Counter(str(decision) for decision, changed in zip(self.before, self.changed, strict=True) if changed)
        return {name: {"rows": rows[name], "changed": moved[name]} for name in sorted(rows)}

    def worst(self) -> list[dict[str, Any]]:
        """The ten rows that lie furthest apart: `{row, distance, before, after}`."""
        order = np.argsort(-self.distances, kind="stable")[:_WORST]
        return [
            {"row": int(k), "distance": float(self.distances[k]), "before": self.before[k], "after": self.after[k]}
            for k in order
            if self.distances[k] > 0
        ]

    def plain(self) -> dict[str, Any]:
        """In JSON values."""
        return {
            "distance_max": self.greatest,
            "distance_p99": self.p99,
            "changed": int(self.changed.sum()),
            "changed_share": self.changed_share,
            "changed_per_label": self.per_label(),
        }


def agreement(task: Task, before: Sequence[Answer], after: Sequence[Answer]) -> Agreement:
    """Compare the answers of two forms to the same inputs, in the same order."""
    pairs = list(zip(before, after, strict=True))
    distances = np.array([task.distance(a, b) for a, b in pairs], dtype=np.float64)
    changed = np.array([_changed(a, b, d) for (a, b), d in zip(pairs, distances, strict=True)], dtype=bool)
    return Agreement(distances, changed, [_decision(a) for a in before], [_decision(b) for b in after])


def _changed(a: Answer, b: Answer, distance: float) -> bool:
    """Whether a caller would act otherwise: on another label, or on an answer that is nearer to any other than to a.

    An answer that is no label may be a number, which rounding moves a little in every form.
    """
    if isinstance(a, Mapping) and ("label" in a or "labels" in a):
        return bool(_decision(a) != _decision(b) and not _tie(a, b))
    return distance > _ANOTHER


def _decision(answer: Answer) -> Any:
    """What a caller acts on: the label of an answer that has one, all of one that may have several, else the whole."""
    if not isinstance(answer, Mapping):
        return answer
    return answer["label"] if "label" in answer else labels_of(answer) if "labels" in answer else answer


def _tie(a: Answer, b: Answer) -> bool:
    """Whether the first form held the second one's label for as good as its own.

    Of several labels: whether every one that only one of them gave has nearly the same score in both, so that it stands
    at the threshold between them.
    """
    if not (isinstance(a, Mapping) and a.get("scores")):
        return False
    scores = a["scores"]
    if "label" not in a:
        moved = {*labels_of(a)} ^ {*labels_of(b)}
        return all(abs(scores.get(label, -1.0) - b["scores"].get(label, 2.0)) <= TIE for label in moved)
    return bool(abs(scores[a["label"]] - scores.get(_decision(b), -1.0)) <= TIE)
