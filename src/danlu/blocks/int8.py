"""Layers whose weights are stored in eight bits and multiplied in floating point.

Activations keep their precision, so an answer does not depend on the rest of the batch, gradients reach the inputs, and
any device will do. What is won is size; the speed is that of the float layer or a little less.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK = 64
"""How many numbers of an embedding share a scale."""


def steps_of(weight: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The size of a step for all numbers along these axes, which stay with length 1: their largest is 127 steps."""
    largest = weight.abs().amax(axes, keepdim=True) / 127
    return torch.where(largest > 0, largest, torch.ones_like(largest))


class Int8Linear(nn.Module):
    """A linear layer: `weight` int8 [outputs, inputs], `scale` [outputs]."""

    weight: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros_like(layer.weight, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(layer.out_features))
        self.bias = layer.bias

    def fill(self, weight: Tensor) -> None:
        steps = steps_of(weight, (1,))
        self.weight.copy_((weight / steps).round())
        self.scale.copy_(steps[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        product = functional.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return product if self.bias is None else product + self.bias


class Int8Embedding(nn.Module):
    """A table of vectors: `weight` int8 [entries, blocks, numbers of a block], `scale` [entries, blocks, 1]."""

    weight: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Embedding) -> None:
        super().__init__()
        entries, width = layer.weight.shape
        block = BLOCK if width % BLOCK == 0 else width
        self.register_buffer("weight", torch.zeros(entries, width // block, block, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(entries, width // block, 1))

    def fill(self, weight: Tensor) -> None:
        blocks = weight.reshape(self.weight.shape)
        steps = steps_of(blocks, (2,))
        self.weight.copy_((blocks / steps).round())
        self.scale.copy_(steps)

    def forward(self, ids: Tensor) -> Tensor:
        return (self.weight[ids] * self.scale[ids]).flatten(-2)


class Int8Conv2d(nn.Module):
    """A convolution of pictures: `weight` int8 [outputs, inputs, height, width], `scale` [outputs, 1, 1, 1]."""

    weight: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros_like(layer.weight, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(layer.out_channels, 1, 1, 1))
        self.bias = layer.bias
        self.stride, self.padding, self.dilation, self.groups = (
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )

    def fill(self, weight: Tensor) -> None:
        steps = steps_of(weight, (1, 2, 3))
        self.weight.copy_((weight / steps).round())
        self.scale.copy_(steps)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        return functional.conv2d(
            x, weight.to(x.dtype), self.bias, self.stride, self.padding, self.dilation, self.groups
        )


Int8Layer: TypeAlias = Int8Linear | Int8Embedding | Int8Conv2d


def replace(model: nn.Module, smallest: int) -> list[tuple[Int8Layer, nn.Module]]:
    """Put unfilled int8 layers in place of those with at least `smallest` weights; returns (new, old) pairs.

    Subclasses of torch's own layers are left alone: their owners may read the weight directly.
    """
    pairs: dict[nn.Module, Int8Layer] = {}
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if name and (layer in pairs or _fits(layer, smallest)):
            new = pairs.get(layer) or _unfilled(layer)
            pairs[layer] = new
            model.set_submodule(name, new)
    return [(new, old) for old, new in pairs.items()]


def _fits(layer: nn.Module, smallest: int) -> bool:
    kind = type(layer)
    plain = (
        kind is nn.Linear
        or (kind is nn.Embedding and layer.max_norm is None)
        or (kind is nn.Conv2d and layer.padding_mode == "zeros")
    )
    return plain and layer.weight.numel() >= smallest  # type: ignore[operator]


def _unfilled(layer: nn.Module) -> Int8Layer:
    if isinstance(layer, nn.Embedding):
        return Int8Embedding(layer)
    return Int8Conv2d(layer) if isinstance(layer, nn.Conv2d) else Int8Linear(layer)  # type: ignore[arg-type]


@torch.no_grad()
def compress(model: nn.Module, smallest: int) -> int:
    """Change a model in place; returns how many layers are now int8."""
    pairs = replace(model, smallest)
    for new, old in pairs:
        new.fill(old.weight)  # type: ignore[arg-type]
    return len(pairs)
