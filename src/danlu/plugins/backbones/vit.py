"""A vision transformer trained from scratch (Dosovitskiy et al., 2021), in sizes for small pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from danlu.blocks.pixels import ImageProcessor
from danlu.contracts import Backbone, Head, Initialiser
from danlu.core.plugin import lazy

if TYPE_CHECKING:
    from torch import nn

hf = lazy("danlu.blocks.hf")
_initialise = lazy("danlu.blocks.initialise")

_SHAPES = {"tiny": (4, 64, 2), "mini": (6, 128, 4), "small": (8, 256, 4), "base": (12, 768, 12)}
"""Layers, width, heads of attention."""


class Vit(Backbone):
    """For pictures where what matters is far apart; with a few thousand examples or fewer `cnn` mostly does better.

    A picture is cut into square patches, each a token. What is saved is a folder that plain transformers loads with the
    same answers.
    """

    main: ClassVar[str] = "size"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "attention"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",), "head": ("input", "gap")}
    processor_class: ClassVar[type[Any]] = ImageProcessor

    size: Literal["tiny", "mini", "small", "base"] = "tiny"
    """Layers and width: tiny 4 × 64, mini 6 × 128, small 8 × 256, base 12 × 768."""
    side: int | None = Field(default=None, ge=4, le=1024)
    """Pictures are scaled to this height and width; by default to their median size, at most 64, rounded up to whole
    patches."""
    patch: int | None = Field(default=None, ge=1, le=64)
    """Pixels along the side of a patch, of which `side` must be a multiple; by default an eighth of the longer side, at
    least 2."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the features and of the attention left out in training."""
    init: Initialiser | None = None
    """How the first weights are drawn; unless given, as the family's own library draws them."""

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        if self.side and self.patch and self.side % self.patch:
            near = max(self.side // self.patch, 1) * self.patch
            raise ValueError(
                f"patches of {self.patch} pixels do not fill a side of {self.side}; `side: {near}` is filled"
            )
        return self

    def learn(self, inputs: Iterable[Any]) -> ImageProcessor:
        found = ImageProcessor.learn(inputs, self.side)
        patch = self.patch or found.square
        height, width = (-(-length // patch) * patch for length in (found.height, found.width))
        return replace(found, height=height, width=width, patch=patch)

    def build(self, head: Head, processor: ImageProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        layers, width, heads = _SHAPES[self.size]
        patch = self.patch or processor.square  # another backbone's processor may name none
        module: nn.Module = hf.from_scratch(
            "vit",
            head,
            dropout=self.dropout,
            image_size=[processor.height, processor.width],
            patch_size=patch,
            encoder_stride=patch,
            num_channels=processor.channels,
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        return module

    def start(self, head: Head, processor: ImageProcessor) -> tuple[nn.Module, list[str]]:
        module, fresh = super().start(head, processor)
        if self.init is not None:
            _initialise.initialise(module, self.init)
        return module, fresh

    def save(self, folder: Path, module: nn.Module, processor: ImageProcessor) -> None:
        hf.write_config(folder, module)
        processor.save(folder)
