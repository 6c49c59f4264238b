"""Columns beside the input that tell the label by themselves, and rows that are sorted by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from danlu.blocks.checkup.finding import Example, Finding, Severity, graded, shown
from danlu.blocks.checkup.subject import Subject

_LEAST_ROWS = 50
_GIVEN_AWAY = 0.5
_WORTH_KNOWING = 0.25


def check(subject: Subject) -> list[Finding] | str:
    """How much better than by chance a column alone predicts the label of a row that was not looked at.

    By rows of equal values, and by the neighbour when the rows are put in the column's order (ids, dates, numbers).
    """
    if subject.label is None:
        return "there is no column of one label a row"
    labels = np.unique(np.array([label or "" for label in subject.labels]), return_inverse=True)[1]
    if len(labels) < _LEAST_ROWS or labels.max() == 0:
        return "there are too few rows or labels to tell"
    found = []
    for name in subject.table.column_names:
        if name == subject.label or (name in subject.text_columns + subject.picture_columns):
            continue
        if (cells := _cells(subject.table.column(name))) is None:
            continue
        found += _told(subject, name, max(_by_value(cells, labels), _by_order(cells, labels)))
    return [*found, *_sorted(subject, labels)]


def _cells(column: pa.ChunkedArray) -> np.ndarray[Any, Any] | None:
    """The cells as things that can be put in order: numbers where they are, else text; None for lists and bytes."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return None
    cells = np.array(["" if cell is None else str(cell) for cell in column.to_pylist()])
    try:
        return np.where(cells == "", "nan", cells).astype(np.float64)
    except ValueError:
        return cells


def _by_value(cells: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """The share of rows right, above chance, when each gets the commonest label among the others of its value."""
    value = np.unique(cells, return_inverse=True)[1].ravel()
    kinds = int(labels.max()) + 1
    pairs, counts = np.unique(value * kinds + labels, return_counts=True)
    of_pair = counts[np.searchsorted(pairs, value * kinds + labels)]
    best, second = np.zeros((2, int(value.max()) + 1), np.int64)
    np.maximum.at(best, pairs // kinds, counts)
    rest = np.where(counts == best[pairs // kinds], 0, counts)
    np.maximum.at(second, pairs // kinds, rest)
    alone = of_pair == best[value]
    ties = np.bincount(pairs // kinds, weights=counts == best[pairs // kinds]).astype(int)[value] > 1
    others = np.where(ties, best[value], second[value])
    right = alone & (of_pair - 1 > others)
    base = np.bincount(labels).max() / len(labels)
    return float((right.mean() - base) / (1 - base)) if base < 1 else 0.0


def _by_order(cells: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """The share of rows right, above chance, when each gets the label of the row before it in the column's order.

    Rows of one value are put in an order of chance, so that the order of the file counts for nothing.
    """
    shuffled = np.random.default_rng(0).permutation(len(cells))
    return _runs(labels[shuffled[np.argsort(cells[shuffled], kind="stable")]])


def _runs(labels: np.ndarray[Any, Any]) -> float:
    same = float((labels[1:] == labels[:-1]).mean())
    chance = float(((np.bincount(labels) / len(labels)) ** 2).sum())
    return (same - chance) / (1 - chance) if chance < 1 else 0.0


def _told(subject: Subject, name: str, skill: float) -> list[Finding]:
    if skill < _WORTH_KNOWING:
        return []
    used = name in subject.columns.ask
    severity: Severity = "stop" if used and skill >= _GIVEN_AWAY else graded(skill, _GIVEN_AWAY)
    what = f"the column {name!r} alone tells the label in {skill:.0%} of what chance leaves open"
    why = "Made together with the label, it is not known when a model is asked: what it gives away can't be relied on."
    cells = subject.table.column(name).slice(0, 3).to_pylist()
    examples = [Example(subject.number(k), shown(cell), shown(subject.labels[k])) for k, cell in enumerate(cells)]
    do = "leave it out of the task's columns" if used else "keep it out of the input, as it is now"
    return [Finding(what, severity, subject.rows, why, examples=examples, do=do)]


def _sorted(subject: Subject, labels: np.ndarray[Any, Any]) -> list[Finding]:
    skill = _runs(labels)
    if skill < _GIVEN_AWAY:
        return []
    what = f"the rows lie sorted by label: {skill:.0%} of what chance leaves open is told by the row before"
    why = "A cut by place would put whole labels into one split; prepare cuts by what a row holds, and shuffles."
    return [Finding(what, "note", subject.rows, why)]
