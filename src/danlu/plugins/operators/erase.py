"""Random erasing: hide a part of a picture behind noise (Zhong et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from danlu.blocks import picture_changes as changes


class Erase(changes.AugmentPictures):
    """New training rows with a rectangle of noise, so that a model does not lean on one part of the picture."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",)}

    least: float = Field(default=0.02, gt=0, le=1)
    """The smallest rectangle, as a share of the area."""
    most: float = Field(default=0.33, gt=0, le=1)
    """The largest one."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least {self.least:g} is more than most {self.most:g}")
        return self

    def change(self, picture: changes.Picture, rng: np.random.Generator) -> tuple[changes.Picture, str]:
        share, slant = float(rng.uniform(self.least, self.most)), float(rng.uniform(-1, 1))
        return changes.erase(picture, share, 3.0**slant, rng), "erased"
