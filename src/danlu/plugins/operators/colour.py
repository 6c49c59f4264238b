"""Change brightness, contrast, saturation and hue of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import picture_changes as changes


class Colour(changes.AugmentPictures):
    """New training rows in another light. Saturation and hue leave a grey picture as it is."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",)}

    brightness: float = Field(default=0.3, ge=0, le=1)
    """The factor is drawn between 1 - this and 1 + this."""
    contrast: float = Field(default=0.3, ge=0, le=1)
    """As for brightness."""
    saturation: float = Field(default=0.3, ge=0, le=1)
    """As for brightness."""
    hue: float = Field(default=0.02, ge=0, le=0.5)
    """At most so much of the circle of colours, to either side."""

    def change(self, picture: changes.Picture, rng: np.random.Generator) -> tuple[changes.Picture, str]:
        light, contrast, saturation, hue = rng.uniform(-1, 1, 4).tolist()
        picture = changes.brighten(picture, 1 + self.brightness * light)
        picture = changes.contrast(picture, 1 + self.contrast * contrast)
        if picture.mode == "RGB":
            picture = changes.saturate(picture, 1 + self.saturation * saturation)
            picture = changes.turn_hue(picture, self.hue * hue)
        return picture, "other light"
