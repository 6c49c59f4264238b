"""One cycle: a long rise and a longer fall, both on half a cosine (Smith and Topin, 2018)."""

import math
from typing import ClassVar

from pydantic import Field

from danlu.contracts import Schedule


class OneCycle(Schedule):
    """For a highest rate that is itself high, as `lr: find` proposes; its warm-up takes 0.3 of the steps."""

    warmup: ClassVar[float] = 0.3

    start: float = Field(default=0.04, gt=0, le=1)
    """The factor of the first step."""
    end: float = Field(default=4e-6, gt=0, le=1)
    """The factor of the last step."""

    def rise(self, step: int, steps: int) -> float:
        return 1.0 if steps == 1 else _between(self.start, 1.0, step / (steps - 1))

    def fall(self, step: int, steps: int, risen: int) -> float:
        return _between(1.0, self.end, (step + 1) / steps)


def _between(start: float, end: float, way: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * way))
