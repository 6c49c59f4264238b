"""Adagrad: a gradient divided by the root of the sum of its squares (Duchi et al., 2011)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

from danlu.contracts import Optimizer


class Adagrad(Optimizer):
    """For rare features: a weight that seldom gets a gradient keeps a high rate. `weight_decay` is a part of the
    gradient."""

    lr_scale: ClassVar[float] = 10.0
    unshared: ClassVar[str] = "moves weights in one kernel that torch has for whole ones"

    initial: float = Field(default=0.0, ge=0)
    """The sum of squares before the first step."""
    eps: float = Field(default=1e-10, gt=0)
    """Added to the root."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(groups, initial_accumulator_value=self.initial, eps=self.eps, fused=True)
