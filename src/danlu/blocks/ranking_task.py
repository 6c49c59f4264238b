"""What tasks share that sort passages for a query: the columns, the question, the truth.

A row is a query with `passages`, a list of texts, and their `relevance`, a list of numbers of which 0 says that a
passage does not belong there; or a query with one passage that does, and perhaps a `negative` that does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field

from danlu.blocks.tables import is_text
from danlu.blocks.text_pairs import check_column
from danlu.contracts import Answer, Columns, Task
from danlu.core.errors import DataError, RecipeError, RowError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES = {
    "query": ("query", "question", "prompt", "anchor"),
    "passages": ("passages", "passage", "documents", "document", "answer", "positive"),
    "relevance": ("relevance", "scores", "labels"),
    "negative": ("negative",),
}
"""What columns are called that are left open."""
_TOPICS = ("amber basil", "cedar delta", "ember fjord", "grove heron", "ivory jade", "karst lotus")


class RankingTask(Task):
    """Derive from it and write what a model is given and what it answers."""

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "input", "answer": "ranking"}

    query: str | None = None
    """The column of the queries; found by its name when left open."""
    passages: str | None = None
    """The column of the passages, lists of texts or a text each; found by its name when left open."""
    relevance: str | None = None
    """The column of their relevance, lists of numbers; wanted where a row has a list of passages."""
    negative: str | None = None
    """The column of a passage that does not belong to the query, for rows of one passage."""
    max_length: int = Field(default=128, ge=8)
    """Longer texts are cut to this many tokens."""

    def columns(self) -> Columns:
        """The columns; raises RecipeError while they are left open."""
        if self.query is None:
            raise RecipeError("the columns are not settled yet", do=f"data.task.{self.name}.query=<column>")
        names = [self.query, self.passages, self.negative]
        return Columns(tuple(name for name in names if name), (self.relevance or self.passages or self.query,))

    def settle(self, rows: pa.Table) -> Self:
        """Columns found by name where left open. Raises DataError for one that is missing or of another type."""
        found = {}
        for option, names in _NAMES.items():
            column: str | None = getattr(self, option) or next((n for n in names if n in rows.column_names), None)
            path = f"data.task.{self.name}.{option}"
            if column is None and option in self.needed():
                there = ", ".join(rows.column_names)
                what = f"no column was found for the {option}; the columns are: {there}"
                raise DataError(what, do=f"{path}=<column>")
            if column is not None:
                check_column(rows, column, path)
            found[option] = column
        settled = self.model_copy(update=found)
        settled._check_types(rows)
        return settled

    def needed(self) -> tuple[str, ...]:
        """The columns without which there is nothing to learn."""
        return ("query", "passages")

    def _check_types(self, rows: pa.Table) -> None:
        for option in ("query", "passages", "negative"):
            column = getattr(self, option)
            kind = rows.schema.field(column).type if column else pa.string()
            listed = option == "passages" and pa.types.is_list(kind)
            if not is_text(kind.value_type if listed else kind):
                what = f"the column {column!r} holds {kind}, not text"
                raise DataError(what, do=f"data.task.{self.name}.{option}=<column>")
            if listed and self.relevance is None:
                what = f"the column {column!r} holds lists, and nothing says what in them belongs to the query"
                raise DataError(what, do=f"data.task.{self.name}.relevance=<column>")

    def resolve(self, rows: pa.Table) -> Self:
        """Columns found. Raises DataError for a query without a relevant passage, and lists that do not fit."""
        settled = self.settle(rows)
        if settled.relevance:
            for place, row in enumerate(rows.select([settled.passages, settled.relevance]).to_pylist(), 1):
                check_relevance(row[settled.passages], row[settled.relevance], place)
        return settled

    def ask(self, row: Mapping[str, Any]) -> Any:
        columns = self.columns()
        passages = row[self.passages] if self.passages else row[columns.ask[0]]
        listed = [passages] if isinstance(passages, str) else list(passages)
        return {"query": row[columns.ask[0]], "passages": [*listed, *self._negatives(row)]}

    def _negatives(self, row: Mapping[str, Any]) -> list[str]:
        return [row[self.negative]] if self.negative and row.get(self.negative) is not None else []

    def material(self, row: Mapping[str, Any]) -> Any:
        x = self.ask(row)
        return "\n".join(dict.fromkeys([x["query"], *x["passages"]]))

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        truth = row.get(self.columns().gold[0])
        if truth is None:
            return None
        scores = [float(one) for one in truth] if self.relevance else [1.0, *(0.0 for _ in self._negatives(row))]
        return ranking(scores)

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        row = {self.columns().ask[0]: x["query"]}
        if self.relevance and self.passages:
            return row | {self.passages: x["passages"], self.relevance: answer["scores"]}
        row |= {self.passages: x["passages"][0]} if self.passages else {}
        return row | ({self.negative: [*x["passages"], None][1]} if self.negative else {})

    def sample(self, n: int) -> list[dict[str, Any]]:
        """The right passage has its query's topic and a word that all right ones have."""
        rows = []
        for k in range(n):
            words, others = (_TOPICS[j % len(_TOPICS)].split() for j in (k, k + 1 + k // len(_TOPICS) % 4))
            passages, first = [f"{words[1]} indeed", f"{others[1]} never"], k % 2
            rows.append({
                self.query or "query": f"what of {words[0]} {'and then ' * (k // len(_TOPICS))}",
                self.passages or "passages": passages[::-1] if first else passages,
                self.relevance or "relevance": [0.0, 1.0] if first else [1.0, 0.0],
            })  # fmt: skip
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        """The greatest difference of a passage's scores, at most 1."""
        if len(a["scores"]) != len(b["scores"]):
            return 1.0
        return max((min(1.0, abs(x - y)) for x, y in zip(a["scores"], b["scores"], strict=True)), default=0.0)

    def from_json(self, value: Any) -> Any:
        return question(value)

    def request_schema(self) -> dict[str, Any]:
        return REQUEST

    def answer_schema(self) -> dict[str, Any]:
        return RANKING


def check_relevance(passages: Sequence[str] | None, relevance: Sequence[float] | None, place: int) -> None:
    """Raise DataError for a query whose passages nobody could sort rightly or wrongly."""
    if passages is None or relevance is None or len(passages) != len(relevance):
        what = f"{len(relevance or ())} numbers of relevance stand beside {len(passages or ())} passages"
        raise RowError(what, row=place, do="give one number for each passage, 0 where it does not belong there")
    if any(not isinstance(one, int | float) or not 0 <= one < float("inf") for one in relevance):
        raise RowError("relevance is a number, 0 or more", row=place, do="mend the row or remove it")
    if not any(relevance):
        raise RowError("no passage is relevant to the query", row=place, do="give it one, or remove the row")


def question(x: Any) -> dict[str, Any]:
    """A query and its passages, checked. Raises DataError."""
    if isinstance(x, Mapping) and x.keys() == {"query", "passages"} and isinstance(x["query"], str):
        passages = x["passages"]
        if isinstance(passages, list | tuple) and passages and all(isinstance(one, str) for one in passages):
            return {"query": x["query"], "passages": list(passages)}
    raise DataError('an input is a query with passages: {"query": "…", "passages": ["…", …]}')


def ranking(scores: Sequence[float]) -> dict[str, Any]:
    """An answer: the score of each passage, and their places from the highest score down."""
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    return {"scores": list(scores), "order": order}


REQUEST = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "passages": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    },
    "required": ["query", "passages"],
    "additionalProperties": False,
}
RANKING = {
    "type": "object",
    "properties": {
        "scores": {"type": "array", "items": {"type": "number"}},
        "order": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["scores", "order"],
}
