"""Cut out a part of a picture and scale it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import picture_changes as changes


class Crop(changes.AugmentPictures):
    """New training rows with a part of the picture, in the proportions of the whole, scaled to the old size."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",)}

    least: float = Field(default=0.6, gt=0, lt=1)
    """The smallest part, as a share of the area; it is drawn between this and the whole."""

    def change(self, picture: changes.Picture, rng: np.random.Generator) -> tuple[changes.Picture, str]:
        share, left, top = rng.uniform((self.least, 0, 0), 1).tolist()
        return changes.crop(picture, share, left, top), "cropped"
