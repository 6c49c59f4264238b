"""Fill in hidden squares of pictures (SimMIM; Xie et al., 2022)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from danlu.blocks import labels as of_labels
from danlu.blocks import pixels, squares
from danlu.blocks.pictures import cell_of, check_paths, inside
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Task
from danlu.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_SIDE = 16


class MaskedImage(Task):
    """Pre-training on pictures alone: some squares are hidden, the model says what was there.

    Squares are the patches of a `vit`; other backbones have an eighth of the picture for a side. While training they
    are drawn anew at every look; for an answer the picture's own content draws them. The loss is the mean absolute
    difference of a hidden square's pixels, whose values have mean 0 and deviation 1.

    An answer is `{"picture": str, "masked": str, "error": float, "error_of_mean": float}`: two PNGs as data URLs, the
    picture as the model fills it in and what it saw of it, the mean squared error of the hidden pixels, and that of
    filling them with the mean of the pixels seen.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "image", "head": "gap", "answer": "picture"}

    image: str | None = None
    """The column of the pictures, `{bytes, path}` or absolute paths; found by its content when left open."""
    share: float = Field(default=0.6, gt=0, lt=1)
    """Share of the squares that are hidden; one is always hidden, and one seen."""

    def columns(self) -> Columns:
        """The column; raises RecipeError while it is left open."""
        if self.image is None:
            raise RecipeError("the column is not settled yet", do="data.task.masked_image.image=<column>")
        return Columns((self.image,), (self.image,))

    def settle(self, rows: pa.Table) -> Self:
        """The column sniffed where it is left open. Raises DataError for none, or one of relative paths."""
        (image,) = of_labels.find_columns(rows, self.name, image=self.image)
        check_paths(rows.column(image), image)
        return self.model_copy(update={"image": image})

    def resolve(self, rows: pa.Table) -> Self:
        return self.settle(rows)

    def ask(self, row: Mapping[str, Any]) -> Any:
        return inside(row[self.columns().ask[0]])

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        """The picture itself, without an error."""
        cell = row.get(self.columns().gold[0])
        return cell and {"picture": pixels.data_url(inside(cell)), "error": 0.0, "error_of_mean": 1.0}

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        return {self.columns().ask[0]: cell_of(x)}

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        return self.encode(self.ask(row), processor)

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """Hidden as its own content says: always the same; `vary` hides anew."""
        values = processor.inputs(x)["pixel_values"]
        rng = np.random.default_rng(zlib.crc32(values.tobytes()))
        return [self._hide(values, processor.square, rng)]

    def _hide(self, values: Any, side: int, rng: np.random.Generator) -> Example:
        cut = squares.cut(values, side)
        if len(cut) < 2:
            shape = f"{values.shape[2]} × {values.shape[1]}"
            what = f"a picture of {shape} pixels is one square of {side}, so nothing would be seen"
            raise DataError(what, do="a larger `side` of the backbone, or a smaller `patch`")
        many = min(max(round(self.share * len(cut)), 1), len(cut) - 1)
        at = np.sort(rng.permutation(len(cut))[:many])
        return Example({"pixel_values": values, "at": at}, {"squares": cut[at]}, count=float(many), note=side)

    def vary(self, example: Example, rng: np.random.Generator) -> Example:
        return self._hide(example.inputs["pixel_values"], example.note, rng)

    def head(self) -> Head:
        return Head("gap")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        off: Tensor = (outputs["squares"].float() - batch.targets["squares"]).abs()
        return off.mean(-1).sum(-1)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        values, at, side = examples[0].inputs["pixel_values"], examples[0].inputs["at"], examples[0].note
        cut = squares.cut(values, side)
        hidden, filled, seen = np.zeros_like(cut), cut.copy(), cut.copy()
        hidden[at], filled[at], seen[at] = 1, outputs[0]["squares"], 0
        hidden, filled, seen = (squares.joined(one, values.shape, side) for one in (hidden, filled, seen))
        off = hidden > 0
        mean = (seen.sum((1, 2)) / np.maximum((~off).sum((1, 2)), 1))[:, None, None]
        return {
            "picture": pixels.data_url(processor.picture(filled)),
            "masked": pixels.data_url(processor.picture(np.where(off, _grey(processor), values))),
            "error": float(np.square(filled - values)[off].mean()),
            "error_of_mean": float(np.square(mean - values)[off].mean()),
        }

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Pictures of one grey each, dark or bright, in noise: what is seen tells what is hidden."""
        rng = np.random.default_rng(0)
        shades = (30, 210, 90, 150)
        drawn = (shades[k % 4] + rng.integers(0, 24, (_SIDE, _SIDE)) for k in range(n))
        return [{self.image or "image": cell_of(picture.astype(np.uint8))} for picture in drawn]

    def distance(self, a: Answer, b: Answer) -> float:
        """How far the errors lie apart; of two models' pictures also how far these do, by the mean of their pixels, if
        that is more. One step of a byte is left out there, since a rounding can turn on a millionth."""
        far = abs(a["error"] - b["error"])
        if "masked" in a and "masked" in b:
            one, other = (np.asarray(pixels.open_picture(pixels.from_base64(x["picture"])), np.int64) for x in (a, b))
            same = one.shape == other.shape
            far = max(far, float(np.maximum(np.abs(one - other) - 1, 0).mean() / 255) if same else 1.0)
        return float(min(far, 1.0))

    def to_json(self, x: Any) -> str:
        return pixels.to_base64(x)

    def from_json(self, value: Any) -> bytes:
        return pixels.from_base64(value)

    def request_schema(self) -> dict[str, Any]:
        return dict(pixels.REQUEST)

    def answer_schema(self) -> dict[str, Any]:
        drawn, number = {"type": "string", "contentEncoding": "base64"}, {"type": "number", "minimum": 0}
        told = {"picture": drawn, "masked": drawn, "error": number, "error_of_mean": number}
        return {
            "type": "object",
            "properties": told,
            "required": ["picture", "error", "error_of_mean"],
            "additionalProperties": False,
        }


def _grey(processor: Any) -> np.ndarray[Any, Any]:
    """The value of middle grey, by channel."""
    grey: np.ndarray[Any, Any] = ((0.5 - np.array(processor.mean)) / np.array(processor.std))[:, None, None]
    return grey
