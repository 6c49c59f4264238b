"""Bottleneck adapters: a small network after a layer, around which its output goes on unchanged."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.hf import Conv1D


class Bottleneck(nn.Module):
    """`x + up(gelu(down(x)))` over the last axis; `up` is zero at first, so the model answers as before."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        nn.init.normal_(self.down.weight, std=0.01)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.up(functional.gelu(self.down(x)))
        return x + changed


class _Linear(nn.Linear):
    adapter: Bottleneck

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.adapter(super().forward(x))
        return changed


class _Conv1D(Conv1D):
    adapter: Bottleneck

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.adapter(super().forward(x))  # type: ignore[no-untyped-call]
        return changed


def add(model: nn.Module, layers: list[str], size: int) -> None:
    """Put one after each of the named linear layers, under the layer's name; changes the model."""
    for name in layers:
        layer = model.get_submodule(name)
        width = layer.nf if isinstance(layer, Conv1D) else layer.out_features
        device = next(layer.parameters()).device
        layer.adapter = Bottleneck(int(width), size).to(device)  # type: ignore[arg-type]
        layer.__class__ = _Conv1D if isinstance(layer, Conv1D) else _Linear
