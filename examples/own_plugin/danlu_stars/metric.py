"""By how many stars the answers are off."""

import numpy as np

from danlu.contracts import Metric


class StarsOff(Metric):
    """The mean of the differences, without their sign."""

    better = "lower"
    wants = {"answer": ("number",)}

    def read(self, answers, gold):
        return np.array([abs(a["stars"] - g["stars"]) for a, g in zip(answers, gold, strict=True)])

    def value(self, read, weights):
        return float(read @ weights / weights.sum())
