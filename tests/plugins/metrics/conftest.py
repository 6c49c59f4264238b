"""Generated answers of a classifier, with ties and a label that nobody gives."""

import numpy as np
import pytest


def generate(rows=200, labels=("a", "b", "c"), seed=0, skill=1.0):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, len(labels), rows)
    logits = np.round(rng.normal(size=(rows, len(labels))) + skill * np.eye(len(labels))[gold], 1)
    scores = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 6)
    answers = []
    for row in scores:
        best = int(row.argmax())
        named = {label: float(x) for label, x in zip(labels, row)}
        answers.append({"label": labels[best], "confidence": float(row[best]), "scores": named})
    return answers, [{"label": labels[g]} for g in gold], scores, gold


@pytest.fixture
def judged():
    return generate
