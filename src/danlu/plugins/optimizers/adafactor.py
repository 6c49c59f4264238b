"""Adafactor: Adam's mean squares of a matrix kept as those of its rows and columns (Shazeer and Stern, 2018)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

from danlu.contracts import Optimizer


class Adafactor(Optimizer):
    """Keeps n + m numbers of a matrix of n × m. Its steps are in parts of a weight's own size, so the rate is higher
    than for `adamw`: 0.001 is usual for fine-tuning T5. `weight_decay` is decoupled."""

    lr_scale: ClassVar[float] = 20.0
    state_per_weight: ClassVar[float] = 0.0
    unshared: ClassVar[str] = "keeps sums over rows and columns of weights"

    beta2_decay: float = Field(default=-0.8, lt=0)
    """Of the mean square, `step` to this power is new at a step."""
    smallest: float = Field(default=1e-3, gt=0)
    """The size at which a smaller weight is taken."""
    threshold: float = Field(default=1.0, ge=1)
    """Greatest root mean square of a step before the rate."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"eps": (None, self.smallest), "d": self.threshold}
        return torch.optim.Adafactor(groups, beta2_decay=self.beta2_decay, **options)
