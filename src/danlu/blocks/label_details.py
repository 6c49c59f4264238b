"""What a report shows of answers that are labels: each label's figures, the confusion matrix, ROC, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.blocks.confusion import LabelSets, averaged, read_labels
from danlu.blocks.roc import Ranking, rankings
from danlu.contracts import labels_of

_CURVE_POINTS = 200
_BINS = 10


def details(answers: Sequence[Any], gold: Sequence[Any], trained: Mapping[str, int]) -> dict[str, Any]:
    """`{labels, roc, calibration}`, and `confusion` where a row has one label.

    `trained` says how many training rows each label has.
    """
    ones = np.ones(len(answers))
    read, ranked = read_labels(answers, gold), rankings(answers, gold)
    counted = read.counts(ones)
    hits, given, true = counted.hits, counted.given, counted.true
    parts = {
        "precision": averaged(hits, given, counted, "macro")["labels"],
        "recall": averaged(hits, true, counted, "macro")["labels"],
        "f1": averaged(2 * hits, given + true, counted, "macro")["labels"],
        "roc_auc": {label: ranking.area(ones) for label, ranking in ranked.items()},
    }
    rows = [
        {
            "label": label,
            "rows": int(count),
            "trained": trained.get(label, 0),
            **{n: p[label] for n, p in parts.items()},
        }
        for label, count in zip(read.labels, true, strict=True)
    ]
    told = {"labels": rows, "roc": {label: _curve(ranking, ones) for label, ranking in ranked.items()}}
    told["calibration"] = calibration(answers, gold)
    if isinstance(read, LabelSets):
        return told
    confusion = {"names": list(read.labels), "matrix": read.table(ones).astype(int).tolist()}
    return {**told, "confusion": confusion}


def _curve(ranking: Ranking, weights: np.ndarray[Any, Any]) -> dict[str, list[float]]:
    false, true = ranking.curve(weights)
    shown = np.unique(np.linspace(0, len(false) - 1, min(len(false), _CURVE_POINTS)).round().astype(int))
    return {"false": false[shown].round(5).tolist(), "true": true[shown].round(5).tolist()}


def calibration(answers: Sequence[Any], gold: Sequence[Any]) -> dict[str, Any]:
    """How often the answers of each confidence are right: `{error, bins: [{low, high, rows, confidence, right}]}`.

    `error` is the expected calibration error (Guo et al., 2017) over ten bins of equal width: the mean distance, by
    rows, between what the model says of itself and what is true. Where a row may have several labels, each of them
    counts by itself: its score is the confidence, and it is right where the row has it.
    """
    said = [pair for answer, g in zip(answers, gold, strict=True) for pair in _said(answer, g)]
    sure, right = np.array([one for one, _ in said]), np.array([float(true) for _, true in said])
    place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    bins = [
        {
            "low": k / _BINS,
            "high": (k + 1) / _BINS,
            "rows": int(here.sum()),
            "confidence": float(sure[here].mean()),
            "right": float(right[here].mean()),
        }
        for k in range(_BINS)
        if (here := place == k).any()
    ]
    error = sum(b["rows"] * abs(b["confidence"] - b["right"]) for b in bins) / max(len(said), 1)
    return {"error": error, "bins": bins}


def _said(answer: Mapping[str, Any], gold: Mapping[str, Any]) -> list[tuple[float, bool]]:
    """What an answer claims, each with how sure it is and whether it is so."""
    if "label" in answer:
        return [(answer["confidence"], answer["label"] == gold["label"])]
    true = set(labels_of(gold))
    return [(score, label in true) for label, score in answer["scores"].items()]


def worst(answers: Sequence[Any], gold: Sequence[Any], most: int) -> list[dict[str, Any]]:
    """The wrong answers that were surest, `{row, gold, label, confidence, gold_score}`, at most so many.

    Of several labels that are wrongly given or left out the surest counts, `gold` and `label` are joined by commas, and
    there is no one `gold_score`.
    """
    judged = ((_mistake(answer, g), k) for k, (answer, g) in enumerate(zip(answers, gold, strict=True)))
    wrong = sorted((-sure, k) for sure, k in judged if sure is not None)
    return [
        {
            "row": k,
            "gold": _joined(gold[k]),
            "label": _joined(answers[k]),
            "confidence": -sure,
            "gold_score": (answers[k].get("scores") or {}).get(gold[k].get("label")),
        }
        for sure, k in wrong[:most]
    ]


def surest(answers: Sequence[Any], gold: Sequence[Any], most: int) -> list[int]:
    """The rows of the right answers that were surest, at most so many; of several labels the least sure one counts."""
    right = [
        (-_sureness(answer), k)
        for k, (answer, g) in enumerate(zip(answers, gold, strict=True))
        if _mistake(answer, g) is None
    ]
    return [k for _, k in sorted(right)[:most]]


def _sureness(answer: Mapping[str, Any]) -> float:
    if "label" in answer:
        return float(answer["confidence"])
    given = set(labels_of(answer))
    return min((score if label in given else 1 - score for label, score in answer["scores"].items()), default=0.0)


def _mistake(answer: Mapping[str, Any], gold: Mapping[str, Any]) -> float | None:
    """How sure a wrong answer was, or None for a right one."""
    if "label" in answer:
        return answer["confidence"] if answer["label"] != gold["label"] else None
    given, true, scores = set(labels_of(answer)), set(labels_of(gold)), answer["scores"]
    sure = [scores.get(label, 0.0) for label in given - true] + [1 - scores.get(label, 0.0) for label in true - given]
    return max(sure, default=None)


def _joined(answer: Mapping[str, Any]) -> str:
    return ", ".join(labels_of(answer)) or "none"
