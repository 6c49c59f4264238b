"""Lion: a step of one size for every weight, in the sign of a mean gradient (Chen et al., 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from danlu.contracts import Optimizer

Share = Annotated[float, Field(ge=0, lt=1)]


class Lion(Optimizer):
    """One number kept of every weight. The paper's rates are 3 to 10 times lower than AdamW's, and its decoupled decay
    is as much higher."""

    lr_scale: ClassVar[float] = 0.2
    weight_decay: ClassVar[float] = 0.05

    betas: tuple[Share, Share] = (0.9, 0.99)
    """How much of the mean gradient is in a step, and how much of it is kept."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return _Lion(groups, self.betas)


class _Lion(torch.optim.Optimizer):
    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> None:
        super().__init__(groups, {"betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            in_step, kept = group["betas"]
            for weight in (w for w in group["params"] if w.grad is not None):
                state = self.state[weight]
                if not state:
                    state["exp_avg"] = torch.zeros_like(weight)
                direction = state["exp_avg"].lerp(weight.grad, 1 - in_step).sign_()
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
                state["exp_avg"].lerp_(weight.grad, 1 - kept)
