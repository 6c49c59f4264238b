"""Labels given against true labels: the counts that accuracy, precision, recall and F1 are made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from danlu.contracts import Answer, Metric, labels_of
from danlu.core.errors import DataError

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Average = Literal["macro", "micro", "weighted"]


@dataclass(frozen=True)
class LabelCounts:
    """Rows of every label, weighted, each of shape [labels]: rightly given, given, true."""

    labels: tuple[str, ...]
    hits: Numbers
    given: Numbers
    true: Numbers


@dataclass(frozen=True)
class LabelPairs:
    """One pair (true label, given label) a row, as positions in `labels`; both arrays have shape [rows]."""

    labels: tuple[str, ...]
    gold: np.ndarray[Any, np.dtype[np.int64]]
    given: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def read(cls, answers: Sequence[Any], gold: Sequence[Any]) -> LabelPairs:
        """From answers and true answers, each a dict with `label`. Raises DataError when the two differ in length."""
        labels = label_names(answers, gold)
        place = {label: k for k, label in enumerate(labels)}
        pairs = [[place[answer["label"]] for answer in side] for side in (gold, answers)]
        return cls(labels, np.array(pairs[0], dtype=np.int64), np.array(pairs[1], dtype=np.int64))

    def counts(self, weights: np.ndarray[Any, Any]) -> LabelCounts:
        """Of every label: right, given and true rows, weighted."""
        table = self.table(weights)
        return LabelCounts(self.labels, np.diag(table), table.sum(axis=0), table.sum(axis=1))

    def table(self, weights: np.ndarray[Any, Any]) -> Numbers:
        """Weighted counts [true label, given label]."""
        size = len(self.labels)
        counts = np.bincount(self.gold * size + self.given, weights=weights, minlength=size * size)
        return counts.reshape(size, size).astype(np.float64)


@dataclass(frozen=True)
class LabelSets:
    """The true and the given labels of rows that may have any number; both arrays are [rows, labels] of 0 and 1."""

    labels: tuple[str, ...]
    gold: Numbers
    given: Numbers

    @classmethod
    def read(cls, answers: Sequence[Any], gold: Sequence[Any]) -> LabelSets:
        """From answers and true answers, each a dict with `labels`. Raises DataError when the two differ in length."""
        labels = label_names(answers, gold)
        sides = [np.array([[label in labels_of(a) for label in labels] for a in side]) for side in (gold, answers)]
        return cls(labels, *(side.reshape(len(gold), len(labels)).astype(np.float64) for side in sides))

    def counts(self, weights: np.ndarray[Any, Any]) -> LabelCounts:
        """Of every label: right, given and true rows, weighted."""
        return LabelCounts(self.labels, weights @ (self.gold * self.given), weights @ self.given, weights @ self.gold)


def read_labels(answers: Sequence[Any], gold: Sequence[Any]) -> LabelPairs | LabelSets:
    """Answers and truth of one label a row, or of any number."""
    several = any(isinstance(g, Mapping) and "labels" in g for g in gold)
    return LabelSets.read(answers, gold) if several else LabelPairs.read(answers, gold)


def label_names(answers: Sequence[Any], gold: Sequence[Any]) -> tuple[str, ...]:
    """Every label that can be given, in the model's own order, then those that only the truth has.

    Raises DataError when answers and truth differ in number, or a row has no true label.
    """
    if len(answers) != len(gold):
        raise DataError(f"there are {len(answers)} answers for {len(gold)} true ones", where="metric")
    missing = sum(g is None or ("labels" not in g and not labels_of(g)) for g in gold)
    if missing:
        raise DataError(
            f"{missing} of {len(gold)} rows have no true label", where="metric", do="judge labelled rows only"
        )
    known = dict.fromkeys(label for answer in answers for label in answer.get("scores") or labels_of(answer))
    others = {label for rows in (gold, answers) for side in rows for label in labels_of(side)} - known.keys()
    return (*known, *sorted(others))


def averaged(top: Numbers, bottom: Numbers, counted: LabelCounts, average: Average) -> dict[str, Any]:
    """The ratio `top / bottom` of each label and its averages.

    Gives `{value, macro, micro, weighted, labels: {label: ratio}}`. `top` and `bottom` have shape [labels]; `value` is
    the average asked for. A label without a row, true or given, has no ratio (NaN) and counts in no average; where only
    `bottom` is 0 the ratio is 0, as in scikit-learn.
    """
    gold, given = counted.true, counted.given
    each = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    here = gold + given > 0
    averages: dict[str, float] = {
        "macro": float(each[here].mean()) if here.any() else float("nan"),
        "micro": float(top.sum() / bottom.sum()) if bottom.sum() else float("nan"),
        "weighted": float(each @ gold / gold.sum()) if gold.sum() else float("nan"),
    }
    shown = np.where(here, each, np.nan).tolist()
    return {"value": averages[average], **averages, "labels": dict(zip(counted.labels, shown, strict=True))}


class LabelRatio(Metric):
    """A metric that is one ratio for each label; a plug-in derives from it and says which."""

    main: ClassVar[str] = "average"
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label", "labels")}

    average: Average = "macro"
    """How the labels become one number: `macro` counts every label alike, `micro` every row, `weighted` every label by
    its rows. All three, and each label's own number, are reported; this one is the headline."""

    @abstractmethod
    def ratio(self, counted: LabelCounts) -> tuple[Numbers, Numbers]:
        """What is divided by what, each of shape [labels]."""

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> LabelPairs | LabelSets:
        """True and given labels of each row."""
        return read_labels(answers, gold)

    def value(self, read: LabelPairs | LabelSets, weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """`{value, macro, micro, weighted, labels: {label: number}}`, each between 0 and 1."""
        counted = read.counts(weights)
        return averaged(*self.ratio(counted), counted, self.average)
