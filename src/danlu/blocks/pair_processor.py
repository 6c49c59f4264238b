"""Pictures and texts to arrays, each by its own processor; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from danlu.blocks.pixels import ImageProcessor
from danlu.blocks.tokens import TextProcessor

PICTURE, TEXT = "picture", "text"
"""The parts of a pair, and the folders of their processors."""


@dataclass(frozen=True)
class PairProcessor:
    """The arrays of what a pair `{"picture": x, "text": str}` holds: both, or either."""

    picture: ImageProcessor
    text: TextProcessor

    @property
    def pad(self) -> Mapping[str, float]:
        """What fills up shorter texts."""
        return self.text.pad

    def inputs(self, x: Mapping[str, Any], limit: int | None = None) -> dict[str, Any]:
        """`pixel_values`; `input_ids` and `attention_mask`, cut to `limit` and to what the text's model takes."""
        drawn = self.picture.inputs(x[PICTURE]) if PICTURE in x else {}
        return drawn | (self.text.inputs(x[TEXT], limit) if TEXT in x else {})

    def save(self, folder: Path) -> None:
        for name, part in ((PICTURE, self.picture), (TEXT, self.text)):
            (folder / name).mkdir(exist_ok=True)
            part.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises DataError when one of the two is not there, or can't be used."""
        return cls(ImageProcessor.load(folder / PICTURE), TextProcessor.load(folder / TEXT))
