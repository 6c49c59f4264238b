"""Warm-up, stable, decay: the rate stays, and falls in the last part alone (Hu et al., 2024)."""

import math
from typing import Literal

from pydantic import Field

from danlu.contracts import Schedule


class WSD(Schedule):
    """A checkpoint of the stable part can be trained on for longer, since nothing in it depends on the planned end."""

    main = "decay"

    decay: float = Field(default=0.2, gt=0, le=1)
    """Share of all steps, at the end, in which the rate falls to 0."""
    shape: Literal["sqrt", "linear"] = "sqrt"
    """How it falls: with one minus the square root of the way (Hägele et al., 2024), or on a line."""

    def fall(self, step: int, steps: int, risen: int) -> float:
        falling = min(steps, math.ceil(self.decay * (steps + risen)))
        way = max(0, step - (steps - falling)) / falling
        return 1 - way if self.shape == "linear" else 1 - math.sqrt(way)
