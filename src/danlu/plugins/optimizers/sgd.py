"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator

from danlu.contracts import Optimizer


class SGD(Optimizer):
    """One number kept of every weight, none without momentum. `weight_decay` is a part of the gradient.

    It wants a rate about a hundred times that of `adamw`: 0.1 from scratch is usual for networks with batch norm.
    """

    lr_scale: ClassVar[float] = 100.0
    unshared: ClassVar[str] = "moves weights in one kernel that torch has for whole ones"

    momentum: float = Field(default=0.9, ge=0, lt=1)
    """How much of the last step is in the next one."""
    nesterov: bool = False
    """Look ahead along the momentum (Nesterov, 1983)."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum, and there is none: set momentum too, or neither")
        return self

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov, fused=True)
