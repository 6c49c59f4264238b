"""Parts of a transformer that keep less for their backward pass, and do it in fewer turns through memory.

What a training keeps of a batch between forward and backward is most of its memory, and on a CPU the time of all that
is not a product of matrices is that of reading and writing it. These compute what the library's own parts compute.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.blocks.tensors import width


def learns(x: Tensor) -> bool:
    """Whether a backward pass is to come that these functions know: not while a graph is exported."""
    return torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_exporting()


class RmsNorm(torch.autograd.Function):
    """x / √(mean x² + ε) · w (Zhang & Sennrich, 2019) over the last axis, in the type `narrow`.

    It keeps x and one number a position; torch's own operations keep x, the quotient, and a copy for every product
    that narrows the result.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float, narrow: torch.dtype) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        scale = (length.square_().div_(x.shape[-1])).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        normed: Tensor = (x * scale).mul_(weight).to(narrow)
        return normed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        even = x * scale
        both = slope * even
        of_weight = both.flatten(0, -2).sum(0).to(weight.dtype) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, of_weight, None, None
        along = (both @ weight.to(both.dtype)).unsqueeze(-1).div_(x.shape[-1])
        of_x = torch.mul(slope, weight, out=both).sub_(even.mul_(along)).mul_(scale)
        return of_x.to(x.dtype), of_weight, None, None


class Gated(torch.autograd.Function):
    """SiLU(gate) · up (Shazeer, 2020), whose SiLU is computed again where the gradient wants it."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_up = torch.nn.functional.silu(gate).mul_(slope)
        return torch.ops.aten.silu_backward(slope * up, gate), of_up


class Shares(torch.autograd.Function):
    """The softmax of `scores` · `scaling` + `mask` in float32, told and kept in the type of the scores."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
        wide = scores.float()
        wide = wide * scaling if mask is None else torch.add(mask, wide, alpha=scaling)
        shares = wide.softmax(-1).to(scores.dtype)
        ctx.save_for_backward(shares)
        ctx.scaling = scaling
        return shares

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        [shares] = ctx.saved_tensors
        back = torch.ops.aten._softmax_backward_data(slope.float(), shares.float(), -1, torch.float32)
        return back.mul_(ctx.scaling).to(shares.dtype), None, None


class LeanRmsNorm(nn.Module):
    """Put before a norm of transformers that has `weight` and `variance_epsilon`."""

    narrows = False
    """Whether nothing but products take the result, which autocast would narrow."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        own: Any = self
        if not learns(hidden_states):
            plain: Tensor = super().forward(hidden_states)
            return plain
        narrow = width(hidden_states) if self.narrows else hidden_states.dtype
        normed: Tensor = RmsNorm.apply(hidden_states, own.weight, own.variance_epsilon, narrow)  # type: ignore[no-untyped-call]
        return normed


class LeanGated(nn.Module):
    """Put before a gated feed-forward of transformers with `gate_proj`, `up_proj`, `down_proj`."""

    def forward(self, x: Tensor) -> Tensor:
        own: Any = self
        gate, up = own.gate_proj(x), own.up_proj(x)
        if learns(gate) or learns(up):
            mixed: Tensor = Gated.apply(gate, up)  # type: ignore[no-untyped-call]
        else:
            mixed = torch.nn.functional.silu(gate) * up
        down: Tensor = own.down_proj(mixed)
        return down


_NORMS, _GATED = ("LlamaRMSNorm", "T5LayerNorm"), ("LlamaMLP",)
_BEFORE_PRODUCTS = ("input_layernorm", "post_attention_layernorm", "layer_norm")


def use_lean(module: nn.Module) -> None:
    """Turn the parts of transformers' Llama and T5 that are known here into lean ones, in place; weights stay."""
    for name, part in module.named_modules():
        kind = type(part).__name__
        if kind in _NORMS:
            _become(part, LeanRmsNorm)
            part.narrows = name.rpartition(".")[2] in _BEFORE_PRODUCTS
        elif kind in _GATED and type(part.act_fn).__name__ in ("SiLU", "SiLUActivation"):
            _become(part, LeanGated)


def _become(module: Any, lean: type[nn.Module]) -> None:
    kind = type(module)
    if issubclass(kind, lean):
        return
    module.__class__ = type(kind.__name__, (lean, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})
