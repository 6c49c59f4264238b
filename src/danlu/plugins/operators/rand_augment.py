"""RandAugment: a few changes of a picture, drawn by lot, all of one strength (Cubuk et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import picture_changes as changes
from danlu.blocks.augment import pick


class RandAugment(changes.AugmentPictures):
    """New training rows, each after `count` of 13 changes: turned, slanted, moved, and in other light and colours.

    Two numbers to choose instead of a dozen. The paper's fourteenth change, none, is left out: that row is there.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",)}

    count: int = Field(default=2, ge=1, le=10)
    """How many changes, one after another."""
    strength: float = Field(default=0.3, gt=0, le=1)
    """1 is the strongest: 30 degrees, or 90 percent brighter. The paper's magnitude is ten times this."""

    def change(self, picture: changes.Picture, rng: np.random.Generator) -> tuple[changes.Picture, str]:
        for _ in range(self.count):
            picture = changes.RAND_AUGMENT[pick(rng, list(changes.RAND_AUGMENT))](picture, self.strength, rng)
        return picture, "changed"
