"""Mirror pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from danlu.blocks import picture_changes as changes


class Flip(changes.AugmentPictures):
    """New training rows with the picture mirrored. Not where left and right mean something: letters, digits, X-rays."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image",)}

    axis: Literal["across", "down"] = "across"
    """`across` swaps left and right, `down` top and bottom."""

    def change(self, picture: changes.Picture, rng: np.random.Generator) -> tuple[changes.Picture, str]:
        return (changes.mirror(picture) if self.axis == "across" else changes.upend(picture)), f"flipped {self.axis}"
