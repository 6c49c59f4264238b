"""One of several labels from logits: what `blocks.labels.answer` does, for an exported script."""

import numpy as np


def answer(outputs, settings):
    """The label with its confidence, from the logits of all labels."""
    logits = np.asarray(outputs["logits"], dtype=np.float64)
    powers = np.exp(logits - logits.max())
    scores = powers / powers.sum()
    best, labels = int(scores.argmax()), settings["labels"]
    named = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    return {"label": labels[best], "confidence": float(scores[best]), "scores": named}
