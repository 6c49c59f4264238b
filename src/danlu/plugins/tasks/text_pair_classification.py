"""One label for two texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from danlu.blocks import labels as of_labels
from danlu.blocks import text_pairs
from danlu.blocks.text_pairs import PAIR, TEXT
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Processor, Task
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_CLUES = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "ivory", "jade")
_FILLING = ("the", "one", "that", "came", "with", "it", "and", "then", "some", "more")


class TextPairClassification(Task):
    """Entailment, paraphrase, whether an answer fits a question: every pair of texts has exactly one label.

    Both texts go through the model together, so that each word is read beside the other text's. An input is
    `{"text": str, "text_pair": str}`, an answer `{"label": str, "confidence": float, "scores": {label: float}}`.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "input", "answer": "label"}

    text: str | None = None
    """The column of the first texts; found by its content when left open."""
    text_pair: str | None = None
    """The column of the second texts; found by its content when left open."""
    label: str | None = None
    """The column of the labels; found by its content when left open."""
    labels: tuple[str, ...] = ()
    """The labels; by default those of the training rows, sorted."""
    max_length: int = Field(default=256, ge=8)
    """Longer pairs are cut to this many tokens, the longer text first."""

    def columns(self) -> Columns:
        """The three columns; raises RecipeError while they are left open."""
        if self.text is None or self.text_pair is None or self.label is None:
            raise RecipeError("the columns are not settled yet", do="data.task.text_pair_classification.text=<column>")
        return Columns((self.text, self.text_pair), (self.label,))

    def settle(self, rows: pa.Table) -> Self:
        """Columns sniffed where left open. Raises DataError when the table lacks one, or it holds no text."""
        rest = rows.drop_columns([name for name in (self.text, self.text_pair) if name in rows.column_names])
        [label] = of_labels.find_columns(rest if self.label is None else rows, self.name, label=self.label)
        texts = text_pairs.find_texts(rows, self.name, {TEXT: self.text, PAIR: self.text_pair}, (label,))
        return self.model_copy(update={TEXT: texts[0], PAIR: texts[1], "label": label})

    def resolve(self, rows: pa.Table) -> Self:
        """Columns found, labels listed. Raises DataError for rows that can't be learnt from."""
        settled = self.settle(rows)
        listed = of_labels.list_labels(rows, settled.columns().gold[0], self.name)
        return settled.model_copy(update={"labels": self.labels or listed})

    def ask(self, row: Mapping[str, Any]) -> Any:
        text, pair = self.columns().ask
        return {TEXT: row[text], PAIR: row[pair]}

    def material(self, row: Mapping[str, Any]) -> Any:
        return text_pairs.joined(self.ask(row))

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        return of_labels.certain(row.get(self.columns().gold[0]), self.labels)

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns = self.columns()
        return dict(zip((*columns.ask, *columns.gold), (x[TEXT], x[PAIR], answer["label"]), strict=True))

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
        return processor.inputs(text_pairs.texts_of(x, pair=True), self.max_length)

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        return of_labels.answer(outputs[0], self.labels)

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Pairs in which a word of the second text gives the label away."""
        names = self.labels or ("no", "yes")
        text, pair, label = self.text or TEXT, self.text_pair or PAIR, self.label or "label"
        rows = []
        for k in range(n):
            which = k % len(names)
            words = [_FILLING[(k + j) % len(_FILLING)] for j in range(1 + k // len(names) % len(_FILLING))]
            clue = f"{_CLUES[which % len(_CLUES)]} {_CLUES[which // len(_CLUES) % len(_CLUES)]}"
            rows.append({text: " ".join(words), pair: f"{words[-1]} {clue}", label: names[which]})
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        return of_labels.distance(a, b)

    def from_json(self, value: Any) -> Any:
        text_pairs.texts_of(value, pair=True)
        return value

    def request_schema(self) -> dict[str, Any]:
        return text_pairs.schema(pair=True)

    def answer_schema(self) -> dict[str, Any]:
        return of_labels.answer_schema(self.labels)
