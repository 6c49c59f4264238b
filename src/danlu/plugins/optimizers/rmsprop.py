"""RMSprop: a gradient divided by the root of its mean square (Tieleman and Hinton, 2012)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from danlu.contracts import Optimizer


class RMSprop(Optimizer):
    """One number kept of every weight. `weight_decay` is a part of the gradient."""

    alpha: float = Field(default=0.99, gt=0, lt=1)
    """How much of the mean square is kept at a step."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """How much of the last step is in the next one."""
    centered: bool = False
    """Divide by the standard deviation instead (Graves, 2013)."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"momentum": self.momentum, "centered": self.centered}
        return torch.optim.RMSprop(groups, alpha=self.alpha, eps=self.eps, foreach=True, **options)
