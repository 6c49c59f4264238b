"""The rate falls with the square root of the steps (Vaswani et al., 2017)."""

import math

from pydantic import Field

from danlu.contracts import Schedule


class InverseSqrt(Schedule):
    """To a half after four times the warm-up, to a third after nine times. It does not depend on the planned end."""

    timescale: int | None = Field(default=None, ge=1)
    """Steps after which it would have fallen to 1/√2; as many as the warm-up has unless given."""

    def fall(self, step: int, steps: int, risen: int) -> float:
        timescale = self.timescale or max(1, risen)
        return math.sqrt(timescale / (timescale + step))
