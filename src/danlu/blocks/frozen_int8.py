"""The linear layers of a frozen model held in eight bits, a scale an output, while something beside them is trained.

Inputs and products keep the type they had. What the backward pass keeps are the eight-bit weights: each product widens
them anew, a layer at a time, so that no wide copy outlives it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.int8 import steps_of
from danlu.blocks.tensors import width


class FrozenInt8(nn.Module):
    """A frozen linear layer: `codes` int8 [outputs, inputs], `steps` [outputs]. A saved model holds no such layer."""

    steps: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        steps = steps_of(weight, (1,))
        self.codes = nn.Parameter((weight / steps).round().to(torch.int8), requires_grad=False)
        self.register_buffer("steps", steps[:, 0].float(), persistent=False)
        self.bias = layer.bias
        self.in_features, self.out_features = layer.in_features, layer.out_features

    @property
    def weight(self) -> Tensor:
        """The weights that the codes stand for, made anew."""
        return self.codes * self.steps[:, None]

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = _Product.apply(x, self.codes, self.steps, self.bias, width(x))  # type: ignore[no-untyped-call]
        return said


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, steps: Tensor, bias: Tensor | None, kind: torch.dtype) -> Tensor:
        ctx.save_for_backward(codes, steps)
        ctx.kind = x.dtype
        with torch.autocast(x.device.type, enabled=False):
            return product(x.to(kind), codes, steps, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        codes, steps = ctx.saved_tensors
        with torch.autocast(slope.device.type, enabled=False):
            return through(slope, codes, steps).to(ctx.kind), None, None, None, None


def product(x: Tensor, codes: Tensor, steps: Tensor, bias: Tensor | None) -> Tensor:
    """x [.., inputs] times the weights that the codes stand for, in the type of x."""
    said = functional.linear(x, codes.to(x.dtype)).mul_(steps.to(x.dtype))
    return said if bias is None else said.add_(bias.to(x.dtype))


def through(slope: Tensor, weight: Tensor, steps: Tensor | None) -> Tensor:
    """The gradient of the inputs of a product from that of its outputs; a weight without `steps` is no codes."""
    return slope @ weight if steps is None else (slope * steps.to(slope.dtype)) @ weight.to(slope.dtype)


def hold(model: nn.Module) -> int:
    """Put eight-bit layers in the place of the frozen linear ones of a model; how many.

    A layer of torch's own kind alone, and no table of words, which an embedding reads too.
    """
    tables = {part.weight.data_ptr() for part in model.modules() if isinstance(part, nn.Embedding)}
    found = [
        (name, part)
        for name, part in model.named_modules()
        if type(part) is nn.Linear
        and not any(weight.requires_grad for weight in part.parameters())
        and part.weight.data_ptr() not in tables
    ]
    for name, part in found:
        model.set_submodule(name, FrozenInt8(part))
    return len(found)


def give_back(model: nn.Module, whole: nn.Module) -> None:
    """Put the layers of `whole`, the model as it was before it was wrapped, in the place of the eight-bit ones."""
    for name, part in list(model.named_modules()):
        if isinstance(part, FrozenInt8):
            plain = whole.get_submodule(name.removesuffix(".base_layer"))
            model.set_submodule(name, plain.requires_grad_(False).to(part.codes.device))
