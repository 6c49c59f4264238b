"""Models that fill in hidden squares of a picture (SimMIM; Xie et al., 2022).

A model is given `pixel_values` [n, channels, h, w] and `at` [n, k], the places of the squares that it must not see,
counted row by row; what lies there it replaces itself, by weights it learns. It gives `squares` [n, k, values], the
pixels of those squares alone, in the order of `squares.cut`. The body has the names of weights that it has in a
classifier, which can therefore start from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.pixels import ImageProcessor
from danlu.blocks.squares import grid


def which(at: Tensor, places: int) -> Tensor:
    """Whether each place is among those `at` [n, k]; boolean [n, places]."""
    return (torch.arange(places, device=at.device) == at.unsqueeze(-1)).any(1)


def gathered(values: Tensor, at: Tensor) -> Tensor:
    """The vectors [n, k, width] of `values` [n, places, width] at some places."""
    return values.gather(1, at.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


# ---- transformers ----------------------------------------------------------------------------------------------------


def ask_which(module: nn.Module) -> nn.Module:
    """Turn the library's masked ViT into one whose `forward` is `AskedSquares.forward`; the weights stay."""
    model: Any = module
    kind = type(model)
    if not isinstance(model, AskedSquares):
        model.__class__ = type(kind.__name__, (AskedSquares, kind), {"__module__": kind.__module__})
    return module


class AskedSquares(nn.Module):
    """A vision transformer that is told which patches are hidden.

    The library's own forward draws whole pictures, and only square ones.
    """

    def forward(self, pixel_values: Tensor, at: Tensor) -> dict[str, Tensor]:
        """`squares` [n, k, values]."""
        model: Any = self
        places = model.vit.embeddings.patch_embeddings.num_patches
        body = model.vit(pixel_values, bool_masked_pos=which(at, places)).last_hidden_state[:, 1:]
        decoder = model.decoder[0]
        return {"squares": functional.linear(gathered(body, at), decoder.weight[:, :, 0, 0], decoder.bias)}


# ---- convolutions ----------------------------------------------------------------------------------------------------


class FillsSquares(nn.Module):
    """A convolutional body with one layer that draws the picture from its features.

    `body` are the parts of a classifier in their order, under their names in it; `stride` is how many pixels lie
    between two of its features of `width` numbers. Hidden pixels take a learnt colour.
    """

    def __init__(self, body: Mapping[str, nn.Module], width: int, stride: int, processor: ImageProcessor) -> None:
        super().__init__()
        self.parts = tuple(body)
        for name, part in body.items():
            self.add_module(name, part)
        self.shape, self.side, self.stride = (processor.height, processor.width), processor.square, stride
        self.colour = nn.Parameter(torch.zeros(processor.channels, 1, 1))
        self.draw = nn.Conv2d(width, processor.channels * stride**2, 1)

    def forward(self, pixel_values: Tensor, at: Tensor) -> dict[str, Tensor]:
        """`squares` [n, k, values]."""
        (height, width), side = self.shape, self.side
        rows, columns = grid(height, width, side)
        hidden = which(at, rows * columns).view(-1, 1, rows, 1, columns, 1).expand(-1, -1, -1, side, -1, side)
        hidden = hidden.reshape(-1, 1, rows * side, columns * side)[:, :, :height, :width]
        features = torch.where(hidden, self.colour, pixel_values)
        for name in self.parts:
            features = self.get_submodule(name)(features)
        drawn = functional.pixel_shuffle(self.draw(features), self.stride)[:, :, :height, :width]
        drawn = functional.pad(drawn, (0, columns * side - width, 0, rows * side - height))
        cut = drawn.reshape(-1, drawn.shape[1], rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        return {"squares": gathered(cut.reshape(-1, rows * columns, drawn.shape[1] * side**2), at)}
