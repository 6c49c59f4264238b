"""The learning rate of a step: a warm-up, then what the schedule says."""

from __future__ import annotations

import math

from danlu.contracts import Schedule


def factor(step: int, steps: int, warmup: float, schedule: Schedule) -> float:
    """What the highest learning rate is multiplied by in step `step` (from 0) of `steps` in all; in (0, 1].

    The first `warmup` share of the steps is the warm-up.
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return schedule.rise(step, rising)
    return schedule.fall(step - rising, steps - rising, rising)
