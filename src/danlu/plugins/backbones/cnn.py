"""A small convolutional network for pictures, trained from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.hidden_squares import FillsSquares
from danlu.blocks.initialise import initialise
from danlu.blocks.pixels import ImageProcessor
from danlu.contracts import Backbone, Head, Initialiser

_WIDTHS = {"tiny": (16, 32), "small": (32, 64, 128), "base": (64, 128, 256)}


class Cnn(Backbone):
    """For small pictures (digits, signs, parts) with a few hundred examples or more; no weights to download.

    Each stage halves the picture: two 3 × 3 convolutions with group normalisation (Wu and He, 2018), so that a
    picture's answer does not depend on the others in its batch.
    """

    main: ClassVar[str] = "size"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",), "head": ("input", "gap")}
    processor_class: ClassVar[type[Any]] = ImageProcessor

    size: Literal["tiny", "small", "base"] = "small"
    """Channels of the stages: tiny 16, 32; small 32, 64, 128; base 64, 128, 256."""
    side: int | None = Field(default=None, ge=4, le=1024)
    """Pictures are scaled to this height and width; by default to their median size, at most 64."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the features left out in training, before the head."""
    init: Initialiser | None = None
    """How the first weights are drawn; unless given, as torch draws them."""

    def learn(self, inputs: Iterable[Any]) -> ImageProcessor:
        return ImageProcessor.learn(inputs, self.side)

    def build(self, head: Head, processor: ImageProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        widths = _WIDTHS[self.size]
        network = _Network(processor.channels, widths, head.size or 1, self.dropout)
        if head.per == "gap":
            return FillsSquares({"stages": network.stages}, widths[-1], 2 ** len(widths), processor)
        return network

    def start(self, head: Head, processor: ImageProcessor) -> tuple[nn.Module, list[str]]:
        module, fresh = super().start(head, processor)
        if self.init is not None:
            initialise(module, self.init)
        return module, fresh


class _Network(nn.Module):
    """`pixel_values` [n, channels, h, w] to `logits` [n, labels]."""

    def __init__(self, channels: int, widths: tuple[int, ...], labels: int, dropout: float) -> None:
        super().__init__()
        sides = zip((channels, *widths), widths, strict=False)
        self.stages = nn.Sequential(*(_stage(before, after) for before, after in sides))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], labels)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        features = self.stages(pixel_values).mean((2, 3))
        return {"logits": self.head(self.dropout(features))}


def _stage(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.GroupNorm(8, after),
        nn.GELU(),
        nn.Conv2d(after, after, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(8, after),
        nn.GELU(),
    )
