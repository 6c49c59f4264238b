"""A number for a text, or for two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from danlu.blocks import numbers, text_pairs
from danlu.blocks.text_pairs import PAIR, TEXT
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Processor, Task
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_CLUES = ("amber", "basil", "cedar", "delta")
_FILLING = ("the", "one", "that", "came", "with", "it", "and", "then", "some", "more")


class TextRegression(Task):
    """How positive a text is, how hard to read, how much two texts have in common (STS): a number on a scale.

    An input is a text, or `{"text": str, "text_pair": str}` where rows have two; an answer is `{"value": float}`. The
    model learns the numbers less their mean, over their standard deviation in the training rows.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "input", "answer": "number"}

    text: str | None = None
    """The column of the texts; found by its content when left open."""
    text_pair: str | None = None
    """The column of the second texts; unless it is named, a row has one text."""
    value: str | None = None
    """The column of the numbers; found by its content when left open."""
    mean: float = 0.0
    """The mean of the numbers; found in the training rows."""
    spread: float = Field(default=0.0, ge=0)
    """Their standard deviation; found in the training rows."""
    max_length: int = Field(default=256, ge=8)
    """Longer texts are cut to this many tokens, of two the longer first."""

    def columns(self) -> Columns:
        """The columns; raises RecipeError while they are left open."""
        if self.text is None or self.value is None:
            raise RecipeError("the columns are not settled yet", do="data.task.text_regression.text=<column>")
        return Columns((self.text, *filter(None, [self.text_pair])), (self.value,))

    def settle(self, rows: pa.Table) -> Self:
        """Columns sniffed where left open. Raises DataError when the table lacks one, or it holds no text."""
        value = numbers.find_number(rows, self.name, self.value, (self.text, self.text_pair))
        wanted = {TEXT: self.text, **({PAIR: self.text_pair} if self.text_pair else {})}
        found = dict(zip(wanted, text_pairs.find_texts(rows, self.name, wanted, (value,)), strict=True))
        return self.model_copy(update={**found, "value": value})

    def resolve(self, rows: pa.Table) -> Self:
        """Columns and scale found. Raises DataError for rows that can't be learnt from."""
        settled = self.settle(rows)
        mean, spread = numbers.scale(rows, settled.columns().gold[0], self.name)
        return settled.model_copy(update={"mean": mean, "spread": spread})

    def ask(self, row: Mapping[str, Any]) -> Any:
        texts = [row[column] for column in self.columns().ask]
        return dict(zip((TEXT, PAIR), texts, strict=True)) if self.text_pair else texts[0]

    def material(self, row: Mapping[str, Any]) -> Any:
        return text_pairs.joined(self.ask(row))

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        value = numbers.number(row.get(self.columns().gold[0]))
        return None if value is None else {"value": value}

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns = self.columns()
        texts = (x[TEXT], x[PAIR]) if self.text_pair else (x,)
        return dict(zip((*columns.ask, *columns.gold), (*texts, answer["value"]), strict=True))

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        gold = self.gold(row)
        if gold is None:
            return []
        target = np.float32((gold["value"] - self.mean) / self.spread)
        return [Example(self._inputs(self.ask(row), processor), {numbers.TARGET: target})]

    def head(self) -> Head:
        return Head("input", 1)

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return numbers.squared_error(outputs, batch)

    def encode(self, x: Any, processor: Processor) -> list[Example]:
        return [Example(self._inputs(x, processor))]

    def _inputs(self, x: Any, processor: Processor) -> Arrays:
        return processor.inputs(text_pairs.texts_of(x, pair=bool(self.text_pair)), self.max_length)

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        return numbers.answer(outputs[0], self.mean, self.spread)

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Texts in which the last word says the number: one of two, far apart."""
        rows = []
        for k in range(n):
            words = [_FILLING[(k + j) % len(_FILLING)] for j in range(1 + k // 2 % len(_FILLING))]
            clues = _CLUES[k % 2 :: 2]
            row = {self.text or TEXT: " ".join([*words, *clues]), self.value or "value": float(1 + 3 * (k % 2))}
            rows.append(row | ({self.text_pair: words[0]} if self.text_pair else {}))
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        """The difference in two standard deviations of the training rows, at most 1."""
        return float(min(1.0, abs(a["value"] - b["value"]) / (2 * self.spread or 1.0)))

    def from_json(self, value: Any) -> Any:
        text_pairs.texts_of(value, pair=bool(self.text_pair))
        return value

    def request_schema(self) -> dict[str, Any]:
        return text_pairs.schema(pair=bool(self.text_pair))

    def answer_schema(self) -> dict[str, Any]:
        return numbers.SCHEMA
