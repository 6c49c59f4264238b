"""One label for a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from danlu.blocks import labels as of_labels
from danlu.blocks.portable import Piece
from danlu.blocks.tables import is_text
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Processor, Task
from danlu.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_WORDS = [
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron",
    "ivory", "jade", "karst", "lotus", "maple", "north", "olive", "pearl",
]  # fmt: skip
_FILLING = ["the", "one", "that", "came", "with", "it", "and", "then", "some", "more", "of", "this", "day", "too"]


class TextClassification(Task):
    """Sentiment, topic, intent: every text has exactly one of a fixed set of labels.

    An answer is `{"label": str, "confidence": float, "scores": {label: float}}`.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "input", "answer": "label"}

    text: str | None = None
    """The column of the texts; found by its content when left open."""
    label: str | None = None
    """The column of the labels; found by its content when left open."""
    labels: tuple[str, ...] = ()
    """The labels; by default those of the training rows, sorted."""
    max_length: int = Field(default=256, ge=3)
    """Longer texts are cut to this many tokens."""

    def columns(self) -> Columns:
        """The two columns; raises RecipeError while they are left open."""
        if self.text is None or self.label is None:
            raise RecipeError("the columns are not settled yet", do="data.task.text_classification.text=<column>")
        return Columns((self.text,), (self.label,))

    def settle(self, rows: pa.Table) -> Self:
        """Columns sniffed where left open. Raises DataError when the table lacks one, or it holds no text."""
        text, label = of_labels.find_columns(rows, self.name, text=self.text, label=self.label)
        if not is_text(rows.schema.field(text).type):
            what = f"the column {text!r} holds {rows.schema.field(text).type}, not text"
            raise DataError(what, do="data.task.text_classification.text=<column>")
        return self.model_copy(update={"text": text, "label": label})

    def resolve(self, rows: pa.Table) -> Self:
        """Columns found, labels listed. Raises DataError for rows that can't be learnt from."""
        settled = self.settle(rows)
        listed = of_labels.list_labels(rows, settled.columns().gold[0], self.name)
        return settled.model_copy(update={"labels": self.labels or listed})

    def ask(self, row: Mapping[str, Any]) -> Any:
        return row[self.columns().ask[0]]

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        return of_labels.certain(row.get(self.columns().gold[0]), self.labels)

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns = self.columns()
        return {columns.ask[0]: x, columns.gold[0]: answer["label"]}

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        target = of_labels.target(row[self.columns().gold[0]], self.labels)
        return [Example(self._inputs(self.ask(row), processor), target)]

    def head(self) -> Head:
        return Head("input", len(self.labels), self.labels)

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return of_labels.cross_entropy(outputs, batch)

    def encode(self, x: Any, processor: Processor) -> list[Example]:
        return [Example(self._inputs(x, processor))]

    def _inputs(self, x: Any, processor: Processor) -> Arrays:
        if not isinstance(x, str):
            raise DataError(f"a text must be a string, not {type(x).__name__}")
        return processor.inputs(x, self.max_length)

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        return of_labels.answer(outputs[0], self.labels)

    def portable(self) -> Piece:
        """How an exported script answers; see `danlu export`."""
        return of_labels.portable(self.labels, "read_plain", self.max_length)

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Sentences of 1 to 15 words in which two words give the label away."""
        names = self.labels or ("negative", "positive")
        rows = []
        for k in range(n):
            which = k % len(names)
            clue = f"{_WORDS[which % len(_WORDS)]} {_WORDS[which // len(_WORDS) % len(_WORDS)]}"
            filling = [_FILLING[(k + j) % len(_FILLING)] for j in range(k // len(names) % len(_FILLING))]
            rows.append({self.text or "text": " ".join([*filling, clue]), self.label or "label": names[which]})
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        return of_labels.distance(a, b)

    def from_json(self, value: Any) -> str:
        if not isinstance(value, str):
            raise DataError(f"a text must be a string, not {type(value).__name__}")
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"type": "string"}

    def answer_schema(self) -> dict[str, Any]:
        return of_labels.answer_schema(self.labels)
