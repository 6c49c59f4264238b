"""One label for a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from danlu.blocks import labels as of_labels
from danlu.blocks import pixels
from danlu.blocks.pictures import cell_of, check_paths, inside
from danlu.blocks.portable import Piece
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Processor, Task
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor


class ImageClassification(Task):
    """What is in a picture: every picture has exactly one of a fixed set of labels.

    A picture is a path, bytes, a Pillow image or an array of uint8; in a request it is base64. An answer is
    `{"label": str, "confidence": float, "scores": {label: float}}`.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "image", "head": "input", "answer": "label"}

    image: str | None = None
    """The column of the pictures, `{bytes, path}` or absolute paths; found by its content when left open."""
    label: str | None = None
    """The column of the labels; found by its content when left open."""
    labels: tuple[str, ...] = ()
    """The labels; by default those of the training rows, sorted."""

    def columns(self) -> Columns:
        """The two columns; raises RecipeError while they are left open."""
        if self.image is None or self.label is None:
            raise RecipeError("the columns are not settled yet", do="data.task.image_classification.image=<column>")
        return Columns((self.image,), (self.label,))

    def settle(self, rows: pa.Table) -> Self:
        """Columns sniffed where left open. Raises DataError when the table lacks one, or holds relative paths."""
        image, label = of_labels.find_columns(rows, self.name, image=self.image, label=self.label)
        check_paths(rows.column(image), image)
        return self.model_copy(update={"image": image, "label": label})

    def resolve(self, rows: pa.Table) -> Self:
        """Columns found, labels listed. Raises DataError for rows that can't be learnt from."""
        settled = self.settle(rows)
        listed = of_labels.list_labels(rows, settled.columns().gold[0], self.name)
        return settled.model_copy(update={"labels": self.labels or listed})

    def ask(self, row: Mapping[str, Any]) -> Any:
        return inside(row[self.columns().ask[0]])

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        return of_labels.certain(row.get(self.columns().gold[0]), self.labels)

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns = self.columns()
        return {columns.ask[0]: cell_of(x), columns.gold[0]: answer["label"]}

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        target = of_labels.target(row[self.columns().gold[0]], self.labels)
        return [Example(processor.inputs(self.ask(row)), target)]

    def head(self) -> Head:
        return Head("input", len(self.labels), self.labels)

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return of_labels.cross_entropy(outputs, batch)

    def encode(self, x: Any, processor: Processor) -> list[Example]:
        return [Example(processor.inputs(x))]

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        return of_labels.answer(outputs[0], self.labels)

    def portable(self) -> Piece:
        """How an exported script answers; see `danlu export`."""
        return of_labels.portable(self.labels, "read_base64")

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Grey pictures of 16 × 16 with a bright patch, whose place gives the label away, in noise."""
        names = self.labels or ("left", "right")
        across = int(np.ceil(np.sqrt(len(names))))
        side = 16 // across if across <= 16 else 1
        rng = np.random.default_rng(0)
        rows = []
        for k in range(n):
            which = k % len(names)
            picture = rng.integers(0, 90, (16, 16), dtype=np.uint8)
            top, left = which // across * side, which % across * side
            picture[top : top + side, left : left + side] += 150
            cell = {"bytes": pixels.encode_picture(picture), "path": None}
            rows.append({self.image or "image": cell, self.label or "label": names[which]})
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        return of_labels.distance(a, b)

    def to_json(self, x: Any) -> str:
        return pixels.to_base64(x)

    def from_json(self, value: Any) -> bytes:
        return pixels.from_base64(value)

    def request_schema(self) -> dict[str, Any]:
        return dict(pixels.REQUEST)

    def answer_schema(self) -> dict[str, Any]:
        return of_labels.answer_schema(self.labels)
