"""The rate falls on half a cosine (Loshchilov and Hutter, 2017)."""

import math

from pydantic import Field

from danlu.contracts import Schedule


class Cosine(Schedule):
    """Slowly at first and at the end. The usual one for pre-training, often with `{cosine: 0.1}`."""

    main = "floor"

    floor: float = Field(default=0.0, ge=0, lt=1)
    """The factor it falls to, which it would reach one step after the last."""

    def fall(self, step: int, steps: int, risen: int) -> float:
        half = (1 - math.cos(math.pi * ((steps - step) / steps))) / 2
        return self.floor + (1 - self.floor) * half
