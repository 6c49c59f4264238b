"""Rows made up on the spot, for trying a recipe and for tests: sentences about a topic, or pictures of a shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks.pictures import picture_column
from danlu.contracts import Source
from danlu.core.errors import RecipeError

_BATCH_ROWS = 1024
_SIDE = 16

_TOPICS = {
    "food": "soup bread cheese kitchen dinner sauce taste recipe",
    "sport": "match goal team player coach score stadium ball",
    "money": "bank loan market price profit shares budget tax",
    "travel": "train hotel island ticket beach border airport map",
    "music": "song band guitar concert melody drum singer album",
    "weather": "rain storm cloud wind snow sunshine frost thunder",
}
_FRAMES = (
    "Yesterday we talked about the {0} and the {1}.",
    "Nobody expected such a {0}, let alone the {1}.",
    "The {0} was all right, but the {1} could have been another one.",
    "She wrote a letter about a {0} and an old {1}.",
    "Is there a {0} without a {1}?",
)
_SHAPES = ("square", "circle", "triangle", "cross", "frame", "stripes")


class Synthetic(Source):
    """Columns `text` and `label`, or `image` and `label`; the same options always give the same rows.

    A row's label is its topic or its shape. With `noise` some labels are replaced by another one, so that no model can
    be right everywhere.
    """

    main: ClassVar[str] = "kind"

    kind: Literal["text", "image"] = "text"
    """Sentences, or grey pictures of 16×16 pixels."""
    size: int = Field(1000, ge=1)
    """How many rows."""
    classes: int = Field(2, ge=2, le=6)
    """How many labels, each equally often."""
    noise: float = Field(0.0, ge=0, lt=1)
    """Share of the labels that are replaced by another one."""
    seed: int = 0
    """Other seeds give other rows."""

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        if split:
            raise RecipeError(f"made-up rows have no split {split!r}", do="leave the split out")
        names = list(_TOPICS if self.kind == "text" else _SHAPES)[: self.classes]
        rng = np.random.default_rng(self.seed)
        for start in range(0, self.size, _BATCH_ROWS):
            truth = np.arange(start, min(start + _BATCH_ROWS, self.size)) % self.classes
            if self.kind == "text":
                content = pa.array([_sentence(names[k], rng) for k in truth])
            else:
                content = picture_column(_picture(names[k], rng) for k in truth)
            wrong = rng.random(len(truth)) < self.noise
            labels = np.where(wrong, (truth + rng.integers(1, self.classes, len(truth))) % self.classes, truth)
            yield pa.RecordBatch.from_arrays(
                [content, pa.array([names[k] for k in labels])], names=[self.kind, "label"]
            )


def _sentence(topic: str, rng: np.random.Generator) -> str:
    first, second = rng.choice(_TOPICS[topic].split(), 2, replace=False)
    return _FRAMES[rng.integers(len(_FRAMES))].format(first, second)


def _picture(shape: str, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """The shape in a bright grey, anywhere and of any size that can be told, on a dark noisy ground."""
    radius = rng.integers(3, 6)
    row, column = rng.integers(radius + 1, _SIDE - radius - 1, 2)
    down, right = np.mgrid[:_SIDE, :_SIDE] - np.array([row, column])[:, None, None]
    box = (abs(down) <= radius) & (abs(right) <= radius)
    inside = {
        "square": box,
        "circle": down**2 + right**2 <= radius**2,
        "triangle": box & (abs(right) * 2 <= down + radius),
        "cross": box & ((abs(down) <= 1) | (abs(right) <= 1)),
        "frame": box & ((abs(down) == radius) | (abs(right) == radius)),
        "stripes": box & (down % 2 == 0),
    }[shape]
    ground = rng.integers(0, 60, (_SIDE, _SIDE))
    return np.where(inside, rng.integers(160, 256), ground).astype(np.uint8)
