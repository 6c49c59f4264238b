"""A residual network for pictures, trained from scratch (He et al., 2016)."""

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

_SHAPES = {"tiny": (1, (16, 32)), "small": (2, (32, 64, 128)), "base": (2, (64, 128, 256, 512))}
"""Blocks of a stage, and channels of the stages; `base` has the layers of ResNet-18."""
_GROUPS = 8


class Resnet(Backbone):
    """For pictures with some thousand examples; `cnn` is smaller.

    A block adds two 3 × 3 convolutions to what came in, and every stage but the first halves the picture. Group
    normalisation (Wu and He, 2018) takes the place of the batch's, so that a picture's answer and a training step do
    not depend on the others in a batch.
    """

    main: ClassVar[str] = "size"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",), "head": ("input", "gap")}
    processor_class: ClassVar[type[Any]] = ImageProcessor

    size: Literal["tiny", "small", "base"] = "small"
    """Blocks a stage × channels of the stages: tiny 1 × 16, 32; small 2 × 32, 64, 128; base 2 × 64, 128, 256, 512."""
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
        blocks, widths = _SHAPES[self.size]
        network = _Network(processor.channels, blocks, widths, head.size or 1, self.dropout)
        if head.per == "gap":
            body = {"stem": network.stem, "blocks": network.blocks}
            return FillsSquares(body, widths[-1], 2 ** (len(widths) - 1), processor)
        return network

    def start(self, head: Head, processor: ImageProcessor) -> tuple[nn.Module, list[str]]:
        module, fresh = super().start(head, processor)
        if self.init is not None:
            initialise(module, self.init)
        return module, fresh


class _Network(nn.Module):
    """`pixel_values` [n, channels, h, w] to `logits` [n, labels]."""

    def __init__(self, channels: int, blocks: int, widths: tuple[int, ...], labels: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, widths[0], 3, padding=1, bias=False), *_normed(widths[0]))
        stages = zip((widths[0], *widths), widths, strict=False)
        made = ((before if k == 0 else after, after) for before, after in stages for k in range(blocks))
        self.blocks = nn.Sequential(*(_Block(before, after) for before, after in made))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], labels)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        features = self.blocks(self.stem(pixel_values)).mean((2, 3))
        return {"logits": self.head(self.dropout(features))}


class _Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), *_normed(after))
        self.residual = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, after)
        self.past = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.past(x) + self.norm(self.residual(self.first(x))))


def _normed(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(_GROUPS, width), nn.ReLU()
