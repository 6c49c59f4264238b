"""A vector for every word, learnt from texts alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from danlu.blocks import labels as of_labels
from danlu.blocks import word_queries
from danlu.blocks.tables import is_text
from danlu.blocks.word_list import NOTHING, WordList
from danlu.blocks.word_queries import Sentence, Sum
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Task
from danlu.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_PIECE = 128
"""A longer text goes in pieces of this many words; a padded place costs as much as a word."""
_TOPICS = ("amber basil cedar delta", "ember fjord grove heron", "ivory jade karst lotus", "maple north olive pearl")


class WordVectors(Task):
    """Words that are used alike come near each other; no labels are needed, only a column of texts.

    Asked with a word (`king`) or a sum of words (`king - man + woman`), it answers with the nearest words:
    `{"word": str, "nearest": [{"word": str, "similarity": float}, …]}`, in which `sum` stands for `word` in an answer
    to a sum. Asked with a text, or with `{"text": str}` for a text of one word:
    `{"text": str, "vector": [float, …], "fit": float, "unknown": [str, …]}`. The vector is the mean of the known words'
    ones, of length 1 (zeros where no word is known); `fit` says how well its words go together, 0.5 being chance.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "features", "answer": "word_vectors"}

    text: str | None = None
    """The column of the texts; found by its content when left open."""
    nearest: int = Field(default=10, ge=1, le=1000)
    """How many words an answer names."""

    def columns(self) -> Columns:
        """The column; raises RecipeError while it is left open."""
        if self.text is None:
            raise RecipeError("the column is not settled yet", do="data.task.word_vectors.text=<column>")
        return Columns((self.text,), (self.text,))

    def settle(self, rows: pa.Table) -> Self:
        """The column of texts where there is one alone, else the one sniffed. Raises DataError when there is none."""
        texts = [field.name for field in rows.schema if is_text(field.type)]
        only = texts[0] if len(texts) == 1 else None
        (text,) = of_labels.find_columns(rows, self.name, text=self.text or only)
        if not is_text(rows.schema.field(text).type):
            what = f"the column {text!r} holds {rows.schema.field(text).type}, not text"
            raise DataError(what, do="data.task.word_vectors.text=<column>")
        return self.model_copy(update={"text": text})

    def resolve(self, rows: pa.Table) -> Self:
        return self.settle(rows)

    def ask(self, row: Mapping[str, Any]) -> Any:
        return Sentence(row[self.columns().ask[0]])

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        """That the words of a text go together perfectly; what a metric makes of it is told there."""
        text = row.get(self.columns().gold[0])
        return None if text is None else {"text": text, "fit": 1.0}

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        return {self.columns().ask[0]: str(x)}

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        """None for a text of which fewer than two words are known."""
        ids = processor.inputs(self.ask(row))["text"]
        return [Example({"text": part}, count=float(len(part))) for part in _pieces(ids) if len(part) > 1]

    def head(self) -> Head:
        return Head("features")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return word_queries.misfit(outputs, batch.inputs["text"])

    def encode(self, x: Any, processor: Any) -> list[Example]:
        asked = _asked(x, processor)
        if isinstance(asked, Sum):
            ids = np.array([processor.place(word) for word in asked.words])
            return [Example({"ids": ids, "weights": np.array(asked.signs, np.float32)})]
        return [Example({"text": part}) for part in _pieces(processor.inputs(asked)["text"])]

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        asked = _asked(x, processor)
        if isinstance(asked, Sum):
            return word_queries.nearest(asked, processor.names, outputs[0]["similarity"], self.nearest)
        texts = [example.inputs["text"] for example in examples]
        fits = [out["fit"][: len(ids)][ids != NOTHING] for out, ids in zip(outputs, texts, strict=True)]
        unknown = dict.fromkeys(word for word in processor.cut(asked) if not processor.knows(word))
        vectors = [out["vector"] for out in outputs]
        return word_queries.of_text(str(asked), vectors, np.concatenate(fits), list(unknown))

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Four to seven words of one of four topics."""
        rows = []
        for k in range(n):
            words = _TOPICS[k % len(_TOPICS)].split()
            rows.append({self.text or "text": " ".join(words[(k + j * (k % 3 + 1)) % 4] for j in range(4 + k % 4))})
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        return word_queries.distance(a, b)

    def to_json(self, x: Any) -> Any:
        return word_queries.plain(x)

    def from_json(self, value: Any) -> Any:
        return word_queries.read(value)

    def request_schema(self) -> dict[str, Any]:
        return word_queries.request_schema()

    def answer_schema(self) -> dict[str, Any]:
        return word_queries.answer_schema()


def _asked(x: Any, processor: WordList) -> Sum | Sentence:
    """A string of one word asks for its neighbours, a longer one is a text."""
    asked = word_queries.read(x)
    if isinstance(asked, Sum | Sentence):
        return asked
    words = processor.cut(asked)
    return Sum(words[0], (words[0],), (1,)) if len(words) == 1 else Sentence(asked)


def _pieces(ids: Any) -> list[Any]:
    return np.split(ids, range(_PIECE, len(ids), _PIECE))
