"""What a report shows of answers that are labels: each label's figures, the confusion matrix, ROC, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.blocks.confusion import LabelSets, averaged, read_labels
from danlu.blocks.roc import Ranking, rankings

_CURVE_POINTS = 200
_BINS = 10


def details(answers: Sequence[Any], gold: Sequence[Any], trained: Mapping[str, int]) -> dict[str, Any]:
    """`{labels, roc}`, and `confusion` and `calibration` where a row has one label.

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
    if isinstance(read, LabelSets):
        return told
    confusion = {"names": list(read.labels), "matrix": read.table(ones).astype(int).tolist()}
    return {**told, "confusion": confusion, "calibration": calibration(answers, gold)}


def _curve(ranking: Ranking, weights: np.ndarray[Any, Any]) -> dict[str, list[float]]:
    false, true = ranking.curve(weights)
    shown = np.unique(np.linspace(0, len(false) - 1, min(len(false), _CURVE_POINTS)).round().astype(int))
    return {"false": false[shown].round(5).tolist(), "true": true[shown].round(5).tolist()}


def calibration(answers: Sequence[Any], gold: Sequence[Any]) -> dict[str, Any]:
    """How often the answers of each confidence are right: `{error, bins: [{low, high, rows, confidence, right}]}`.

    `error` is the expected calibration error (Guo et al., 2017) over ten bins of equal width: the mean distance, by
    rows, between what the model says of itself and what is true.
    """
    sure = np.array([answer["confidence"] for answer in answers])
    right = np.array([answer["label"] == g["label"] for answer, g in zip(answers, gold, strict=True)], dtype=float)
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
    error = sum(b["rows"] * abs(b["confidence"] - b["right"]) for b in bins) / max(len(answers), 1)
    return {"error": error, "bins": bins}


def worst(answers: Sequence[Any], gold: Sequence[Any], most: int) -> list[dict[str, Any]]:
    """The wrong answers that were surest, `{row, gold, label, confidence, gold_score}`, at most so many."""
    wrong = [k for k, (answer, g) in enumerate(zip(answers, gold, strict=True)) if answer["label"] != g["label"]]
    wrong.sort(key=lambda k: -answers[k]["confidence"])
    return [
        {
            "row": k,
            "gold": gold[k]["label"],
            "label": answers[k]["label"],
            "confidence": answers[k]["confidence"],
            "gold_score": (answers[k].get("scores") or {}).get(gold[k]["label"]),
        }
        for k in wrong[:most]
    ]
