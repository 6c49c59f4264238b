"""Any number of labels from logits, for an exported script."""

import numpy as np


def answer(outputs, settings):
    """The labels whose scores reach the threshold, and the scores of all, from their logits."""
    logits = np.asarray(outputs["logits"], dtype=np.float64)
    scores = dict(zip(settings["labels"], (1 / (1 + np.exp(-logits.clip(-500, 500)))).tolist(), strict=True))
    return {"labels": [label for label, score in scores.items() if score >= settings["threshold"]], "scores": scores}
