"""Changes of a Pillow picture in mode L or RGB that leave its size; and the augmentation of picture columns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image, ImageEnhance, ImageOps

from danlu.blocks.augment import Augment, Varied
from danlu.blocks.pictures import PICTURE
from danlu.blocks.pixels import encode_picture, open_picture

_SMOOTH = Image.Resampling.BILINEAR
Picture = Image.Image


class AugmentPictures(Augment):
    """Derive from it and write `change`; a changed picture is written into the row as PNG, without its path.

    A column of paths is left alone: a changed picture has none.
    """

    holds: ClassVar[str] = "picture"

    def takes(self, kind: pa.DataType) -> bool:
        return bool(kind == PICTURE)

    @abstractmethod
    def change(self, picture: Picture, rng: np.random.Generator) -> tuple[Picture, str]:
        """The changed picture and what was done to it."""

    def vary(self, value: Any, rng: np.random.Generator) -> Varied | None:
        """Raises DataError for a picture that can't be read."""
        if not (value["bytes"] or value["path"]):
            return None
        before = open_picture(value)
        after, how = self.change(before, rng)
        if np.array_equal(np.asarray(before), np.asarray(after)):
            return None
        return Varied({"bytes": encode_picture(after), "path": None}, how)


def ground(picture: Picture) -> Any:
    """The mean colour, to fill what a change leaves open."""
    mean = np.asarray(picture, dtype=np.float64).reshape(-1, len(picture.getbands())).mean(0)
    colour = tuple(round(value) for value in mean.tolist())
    return colour[0] if len(colour) == 1 else colour


def mirror(picture: Picture) -> Picture:
    """Left becomes right."""
    return ImageOps.mirror(picture)


def upend(picture: Picture) -> Picture:
    """Top becomes bottom."""
    return ImageOps.flip(picture)


def rotate(picture: Picture, degrees: float) -> Picture:
    """Turned about its middle, against the clock."""
    return picture.rotate(degrees, _SMOOTH, fillcolor=ground(picture))


def shear(picture: Picture, across: float, down: float) -> Picture:
    """Slanted, as a share of the side."""
    width, height = picture.size
    matrix = (1, across, -across * height / 2, down, 1, -down * width / 2)
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, _SMOOTH, fillcolor=ground(picture))


def shift(picture: Picture, across: float, down: float) -> Picture:
    """Moved, as a share of the side."""
    width, height = picture.size
    matrix = (1, 0, across * width, 0, 1, down * height)
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, _SMOOTH, fillcolor=ground(picture))


def crop(picture: Picture, share: float, left: float, top: float) -> Picture:
    """A part of `share` of the area, whose corner lies at `left`, `top` of what is free, scaled to the old size."""
    side = share**0.5
    width, height = picture.width * side, picture.height * side
    x, y = left * (picture.width - width), top * (picture.height - height)
    return picture.resize(picture.size, _SMOOTH, box=(x, y, x + width, y + height))


def erase(picture: Picture, share: float, aspect: float, rng: np.random.Generator) -> Picture:
    """A rectangle of `share` of the area, `aspect` times as wide as high, is filled with noise."""
    pixels = np.array(picture)
    height, width = pixels.shape[:2]
    h = int(np.clip(round((share * height * width / aspect) ** 0.5), 1, height))
    w = int(np.clip(round((share * height * width * aspect) ** 0.5), 1, width))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    hole = pixels[top : top + h, left : left + w]
    hole[...] = rng.integers(0, 256, hole.shape, dtype=np.uint8)
    return Image.fromarray(pixels)


def brighten(picture: Picture, factor: float) -> Picture:
    """1 leaves it, 0 is black."""
    return ImageEnhance.Brightness(picture).enhance(factor)


def contrast(picture: Picture, factor: float) -> Picture:
    """1 leaves it, 0 is one grey."""
    return ImageEnhance.Contrast(picture).enhance(factor)


def saturate(picture: Picture, factor: float) -> Picture:
    """1 leaves it, 0 is grey."""
    return ImageEnhance.Color(picture).enhance(factor)


def sharpen(picture: Picture, factor: float) -> Picture:
    """1 leaves it, 0 is blurred."""
    return ImageEnhance.Sharpness(picture).enhance(factor)


def turn_hue(picture: Picture, share: float) -> Picture:
    """The colours moved by a share of the circle; a grey picture stays."""
    if picture.mode != "RGB":
        return picture
    hue, *others = picture.convert("HSV").split()
    moved = hue.point([(value + round(256 * share)) % 256 for value in range(256)])
    return Image.merge("HSV", (moved, *others)).convert("RGB")


def _signed(size: float, rng: np.random.Generator) -> float:
    return size if rng.random() < 0.5 else -size


RAND_AUGMENT: dict[str, Callable[[Picture, float, np.random.Generator], Picture]] = {
    "autocontrast": lambda p, m, rng: ImageOps.autocontrast(p),
    "equalize": lambda p, m, rng: ImageOps.equalize(p),
    "rotate": lambda p, m, rng: rotate(p, _signed(30 * m, rng)),
    "solarize": lambda p, m, rng: ImageOps.solarize(p, round(256 * (1 - m))),
    "posterize": lambda p, m, rng: ImageOps.posterize(p, max(1, 8 - round(4 * m))),
    "colour": lambda p, m, rng: saturate(p, 1 + _signed(0.9 * m, rng)),
    "contrast": lambda p, m, rng: contrast(p, 1 + _signed(0.9 * m, rng)),
    "brightness": lambda p, m, rng: brighten(p, 1 + _signed(0.9 * m, rng)),
    "sharpness": lambda p, m, rng: sharpen(p, 1 + _signed(0.9 * m, rng)),
    "shear across": lambda p, m, rng: shear(p, _signed(0.3 * m, rng), 0),
    "shear down": lambda p, m, rng: shear(p, 0, _signed(0.3 * m, rng)),
    "shift across": lambda p, m, rng: shift(p, _signed(0.45 * m, rng), 0),
    "shift down": lambda p, m, rng: shift(p, 0, _signed(0.45 * m, rng)),
}
"""The changes of RandAugment besides none, each of a strength from 0 to 1, with the ranges of its authors' code."""
