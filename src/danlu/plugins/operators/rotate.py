"""Turn pictures a little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import picture_changes as changes


class Rotate(changes.AugmentPictures):
    """New training rows with the picture turned about its middle; the corners are filled with its mean colour."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",)}

    degrees: float = Field(default=15, gt=0, le=180)
    """The angle is drawn between this to the left and this to the right."""

    def change(self, picture: changes.Picture, rng: np.random.Generator) -> tuple[changes.Picture, str]:
        return changes.rotate(picture, float(rng.uniform(-self.degrees, self.degrees))), "rotated"
