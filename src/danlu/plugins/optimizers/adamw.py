"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from danlu.blocks.row_adamw import RowAdamW
from danlu.contracts import Optimizer

Share = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Optimizer):
    """The default, in torch's fused kernel. It keeps two numbers of every weight that moves.

    Rows of a large embedding table on the CPU stay as they are until a batch has had them.
    """

    weight_decay: ClassVar[float] = 0.01
    state_per_weight: ClassVar[float] = 2.0

    betas: tuple[Share, Share] = (0.9, 0.999)
    """How much of the mean gradient and of the mean square is kept at a step."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return RowAdamW(groups, betas=self.betas, eps=self.eps)
