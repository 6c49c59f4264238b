"""A multilayer perceptron for pictures, trained from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.initialise import initialise
from danlu.blocks.pixels import ImageProcessor
from danlu.contracts import Backbone, Head, Initialiser

_WIDTHS = {"tiny": (64,), "small": (256, 128), "base": (1024, 512, 256)}


class Mlp(Backbone):
    """For pictures that all show one thing at one place, such as digits; knows nothing of neighbours, unlike `cnn`."""

    main: ClassVar[str] = "size"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",), "head": ("input",)}
    processor_class: ClassVar[type[Any]] = ImageProcessor

    size: Literal["tiny", "small", "base"] = "small"
    """Widths of the layers: tiny 64; small 256, 128; base 1024, 512, 256."""
    side: int | None = Field(default=None, ge=4, le=256)
    """Pictures are scaled to this height and width; by default to their median size, at most 64."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of each layer left out in training."""
    init: Initialiser | None = None
    """How the first weights are drawn; unless given, as torch draws them."""

    def learn(self, inputs: Iterable[Any]) -> ImageProcessor:
        return ImageProcessor.learn(inputs, self.side)

    def build(self, head: Head, processor: ImageProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        numbers = processor.channels * processor.height * processor.width
        return _Layers((numbers, *_WIDTHS[self.size]), head.size, self.dropout)

    def start(self, head: Head, processor: ImageProcessor) -> tuple[nn.Module, list[str]]:
        module, fresh = super().start(head, processor)
        if self.init is not None:
            initialise(module, self.init)
        return module, fresh


class _Layers(nn.Module):
    """`pixel_values` [n, channels, h, w] to `logits` [n, labels]."""

    def __init__(self, widths: tuple[int, ...], labels: int, dropout: float) -> None:
        super().__init__()
        layers = ((nn.Linear(a, b), nn.LayerNorm(b), nn.GELU(), nn.Dropout(dropout)) for a, b in pairwise(widths))
        self.layers = nn.Sequential(*(part for layer in layers for part in layer))
        self.head = nn.Linear(widths[-1], labels)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.layers(pixel_values.flatten(1)))}
