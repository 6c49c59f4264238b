"""The learning rate as a function of the step alone, so that a resume needs no state of it."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "constant"]


def factor(step: int, steps: int, warmup: float, schedule: Schedule) -> float:
    """What the learning rate of step `step` (from 0) is multiplied by, of `steps` steps in all; in (0, 1].

    The first `warmup` share of the steps rises in equal parts to 1; then it falls to 0 (reached one step after the
    last) on a line or half a cosine, or stays.
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    left = (steps - step) / (steps - rising)
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
