"""Adam (Kingma and Ba, 2015)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from danlu.contracts import Optimizer

Share = Annotated[float, Field(ge=0, lt=1)]


class Adam(Optimizer):
    """As in the paper: no decay unless `weight_decay` asks for one, which then is a part of the gradient."""

    state_per_weight: ClassVar[float] = 2.0

    betas: tuple[Share, Share] = (0.9, 0.999)
    """How much of the mean gradient and of the mean square is kept at a step."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adam(groups, betas=self.betas, eps=self.eps, fused=True)
