"""A linear layer with a low-rank adapter beside it, as one operation, for training.

The answer is that of the library's layer, x W + s · (x A) B, and so are the gradients. What is saved: the input is
narrowed once, and not once for each product; nothing as wide as the output is scaled or added anew; and the frozen
weight, which autocast narrows in every pass, is narrowed once (one of eight bits is widened in every pass instead). A
LoRA step on a llama of 135 million weights, 2 × 128 tokens in bfloat16 on one core, takes 0.63 s in place of 0.86
(`benchmarks/lora_chat.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.frozen_int8 import product, through
from danlu.blocks.tensors import width


class Frozen:
    """The weight of a frozen layer in the type that products are made in; made anew when the weight was changed."""

    def __init__(self) -> None:
        self._of: tuple[int, int, torch.dtype] | None = None
        self._narrow: Tensor | None = None

    def narrow(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        if weight.dtype == dtype or cut(weight):
            return weight.detach()
        now = (weight.data_ptr(), weight._version, dtype)
        if self._narrow is None or self._of != now:
            self._of, self._narrow = now, weight.detach().to(dtype)
        return self._narrow

    def __deepcopy__(self, _: Any) -> Frozen:
        return Frozen()


def cut(weight: Tensor) -> bool:
    """Whether a weight lies in parts, one in each process."""
    return type(weight.data) is not Tensor


def adapted(
    x: Tensor, weight: Tensor, bias: Tensor | None, down: nn.Parameter, up: nn.Parameter, scale: float,
    steps: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """x [.., in] times a frozen weight [out, in], plus the adapter's product: `down` [rank, in], `up` [out, rank].

    The result has the weight's type. The weight gets no gradient. With `steps` [out] the weight is int8, in steps of
    that size, and the result has the type that products are made in here.
    """
    kind = weight.dtype if steps is None else width(x)
    found: Tensor = _Adapted.apply(x, weight, steps, bias, down, up, scale, kind)  # type: ignore[no-untyped-call]
    return found


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, steps: Tensor | None, bias: Tensor | None, down: Tensor, up: Tensor,
        scale: float, kind: torch.dtype,
    ) -> Tensor:  # fmt: skip
        with torch.autocast(x.device.type, enabled=False):
            given = x.flatten(0, -2).to(kind)
            thin, scaled = down.to(kind), (up * scale).to(kind)
            inner = given @ thin.T
            if steps is None:
                said = functional.linear(given, weight, None if bias is None else bias.to(kind))
            else:
                said = product(given, weight, steps, bias)
            said.addmm_(inner, scaled.T)
        ctx.save_for_backward(given, weight, steps, thin, scaled, inner)
        ctx.scale, ctx.kind, ctx.shape = scale, x.dtype, x.shape
        ctx.types = down.dtype, up.dtype
        return said.view(*x.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        given, weight, steps, thin, scaled, inner = ctx.saved_tensors
        of_x = of_down = of_up = None
        with torch.autocast(slope.device.type, enabled=False):
            slope = slope.flatten(0, -2)
            back = slope @ scaled
            if ctx.needs_input_grad[0]:
                of_x = torch.addmm(through(slope, weight, steps), back, thin).to(ctx.kind).view(ctx.shape)
            if ctx.needs_input_grad[4]:
                of_down = (back.T @ given).to(ctx.types[0])
            if ctx.needs_input_grad[5]:
                of_up = (slope.T @ inner).to(ctx.types[1]) * ctx.scale
        return of_x, None, None, None, of_down, of_up, None, None
