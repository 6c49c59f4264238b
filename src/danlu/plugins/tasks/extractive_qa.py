"""Answer a question with a span of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from danlu.blocks import answer_spans, answer_text
from danlu.blocks.answer_spans import Question
from danlu.blocks.tables import is_text
from danlu.blocks.text_pairs import check_column
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Processor, Task
from danlu.core.errors import DataError, RecipeError, RowError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_NAMES = {
    "question": ("question", "query"),
    "context": ("context", "passage", "document", "paragraph"),
    "answer": ("answers", "answer"),
    "start": ("answer_start", "start"),
}
"""What columns are called that are left open."""
_EVEN = 0.5
_LOWEST = -1e9
_LONGEST = 200
_PEOPLE = ("amber", "basil", "heron", "pearl", "robin", "hazel")
_PLACES = ("delta", "fjord", "grove", "karst", "lagoon", "marsh")


class ExtractiveQA(Task):
    """Reading comprehension: the answer to a question is a stretch of a given text, or there is none (SQuAD 1 and 2).

    A row holds a question, a context and its answer, a text that stands in the context (empty: there is none) or
    SQuAD's `{text: [str], answer_start: [int]}`. An input is `{"question": str, "context": str}`, with `n_best` for
    more than one answer; an answer `{"text", "start", "end", "score", "no_answer", "best"}`, where start and end count
    characters of the context. A context longer than `max_length` is read in windows that overlap.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "position", "answer": "span"}
    pad: ClassVar[Mapping[str, float]] = {"open": 0}

    question: str | None = None
    """The column of the questions; found by its name when left open."""
    context: str | None = None
    """The column of the texts that are read; found by its name when left open."""
    answer_column: str | None = None
    """The column of the answers; found by its name when left open."""
    start: str | None = None
    """The column of the answers' first characters in the context; without any, where the answer stands first."""
    nested: bool | None = None
    """Whether the answers are SQuAD's `{text, answer_start}`; found by the column's type."""
    unanswerable: bool | None = None
    """Whether there may be no answer; by default if some training rows have none."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """No answer is given where `no_answer` is above it; by default the value with the best F1 on the validation rows.
    """
    longest: int | None = Field(default=None, ge=1)
    """Characters of the longest answer that is given; by default the longest of the training rows."""
    max_length: int = Field(default=384, ge=8)
    """Tokens in a window, those of the question among them."""
    overlap: int = Field(default=128, ge=0)
    """Tokens of the context that two windows share; at most half of what a window has room for."""
    max_question: int = Field(default=64, ge=1)
    """Longer questions are cut to this many tokens."""

    # ---- rows --------------------------------------------------------------------------------------------------------

    def columns(self) -> Columns:
        """The columns; raises RecipeError while they are left open."""
        if self.question is None or self.context is None or self.answer_column is None:
            raise RecipeError("the columns are not settled yet", do=f"data.task.{self.name}.question=<column>")
        return Columns((self.question, self.context), (self.answer_column, *filter(None, [self.start])))

    def settle(self, rows: pa.Table) -> Self:
        """Columns found by name where left open. Raises DataError for one that is missing or of another type."""
        found: dict[str, Any] = {}
        for key, names in _NAMES.items():
            option = "answer_column" if key == "answer" else key
            column = getattr(self, option) or next((name for name in names if name in rows.column_names), None)
            path = f"data.task.{self.name}.{option}"
            if column is not None:
                check_column(rows, column, path)
            elif key != "start":
                what = f"no column was found for the {key}; the columns are: {', '.join(rows.column_names)}"
                raise DataError(what, do=f"{path}=<column>")
            found[option] = column
        kinds = {option: rows.schema.field(column).type for option, column in found.items() if column}
        found["nested"] = answer_spans.is_nested(kinds["answer_column"])
        for option in ("question", "context", *(() if found["nested"] else ("answer_column",))):
            if not is_text(kinds[option]):
                what = f"the column {found[option]!r} holds {kinds[option]}, not text"
                raise DataError(what, do=f"data.task.{self.name}.{option}=<column>")
        return self.model_copy(update=found | ({"start": None} if found["nested"] else {}))

    def resolve(self, rows: pa.Table) -> Self:
        """Columns found; how long answers are, and whether any row has none.

        Raises DataError, with their number, for rows without question or context, and for answers that stand nowhere in
        their context.
        """
        settled = self.settle(rows)
        table = rows.select([*settled.columns().ask, *settled.columns().gold]).to_pylist()
        found = [settled._said(place, row) for place, row in enumerate(table, 1)]
        for column in settled.columns().ask:
            empty = [k for k, row in enumerate(table) if row[column] is not None and not row[column].strip()]
            _refuse(empty, len(table), f"an empty {column!r}", "operators: [drop_empty], or mend them")
        lost = [k for k, (row, true) in enumerate(zip(table, found, strict=True)) if settled._lost(row, true)]
        first = f" ({found[lost[0]][0][0][:60]!r})" if lost else ""
        do = "mend the answers, or leave out the operators that rewrite the context alone, such as `normalize`"
        _refuse(lost, len(table), "an answer that stands nowhere in the context", do, first)
        lengths = [len(text) for true in found for text, _ in true]
        if not lengths:
            raise DataError("no row has an answer, so there is nothing to learn", do="name another answer_column")
        update = {
            "longest": self.longest or max(lengths),
            "unanswerable": not all(found) if self.unanswerable is None else self.unanswerable,
        }
        return settled.model_copy(update=update)

    def _true(self, row: Mapping[str, Any]) -> list[tuple[str, int | None]] | None:
        cell = row.get(self.columns().gold[0])
        return answer_spans.true_spans(cell, row.get(self.start) if self.start else None)

    def _said(self, place: int, row: Mapping[str, Any]) -> list[tuple[str, int | None]]:
        try:
            return self._true(row) or []
        except DataError as fault:
            raise RowError(f"it has {fault.what}", row=place, do=fault.do) from fault

    def _lost(self, row: Mapping[str, Any], true: Sequence[tuple[str, int | None]]) -> bool:
        context = row[self.columns().ask[1]]
        return context is not None and any(answer_spans.find(context, *one) is None for one in true)

    def ask(self, row: Mapping[str, Any]) -> Any:
        question, context = self.columns().ask
        return {"question": row[question], "context": row[context]}

    def material(self, row: Mapping[str, Any]) -> Any:
        return "\n".join(row[column] for column in self.columns().ask)

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        true = self._true(row)
        if true is None:
            return None
        if not true:
            return answer_spans.told("", None, None, 1.0, 1.0, texts=[])
        (text, said), context = true[0], row.get(self.columns().ask[1])
        start = said if context is None else answer_spans.find(context, text, said)
        end = None if start is None else start + len(text)
        return answer_spans.told(text, start, end, 1.0, 0.0, texts=list(dict.fromkeys(text for text, _ in true)))

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns = self.columns()
        asked = {columns.ask[0]: x["question"], columns.ask[1]: x["context"]}
        if self.nested:
            texts = answer.get("texts", [answer["text"]] if answer["text"] else [])
            starts = [answer_spans.find(x["context"], text, answer["start"]) for text in texts]
            return asked | {columns.gold[0]: {"text": texts, "answer_start": starts}}
        return asked | {columns.gold[0]: answer["text"]} | ({self.start: answer["start"]} if self.start else {})

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        """A window that holds the whole answer is asked for it, any other says that there is none."""
        gold = self.gold(row)
        if gold is None or (gold["text"] and gold["start"] is None):
            what = "has no answer" if gold is None else f"has the answer {gold['text'][:60]!r}, nowhere in the context"
            raise DataError(f"a row {what}", do="mend the row or remove it; an empty answer says that there is none")
        cut = self._windows(Question.of(self.ask(row)), processor)
        spans = [one.tokens(gold["start"], gold["end"]) if gold["text"] else None for one in cut]
        if gold["text"] and not any(spans):
            what = f"the answer {gold['text'][:60]!r} of {len(gold['text'])} characters is in no window as a whole"
            do = f"data.task.{self.name}.overlap={2 * self.overlap or 128}, or a greater max_length"
            raise DataError(what, do=do)
        return [
            Example(
                one.inputs, {"first": np.int64(at[0]), "last": np.int64(at[1]), "open": one.open * np.int64(1)}, 2.0
            )
            for one, at in zip(cut, (span or (0, 0) for span in spans), strict=True)
        ]

    def _windows(self, asked: Question, processor: Processor) -> list[answer_spans.Window]:
        return answer_spans.windows(processor, asked, self.max_length, self.overlap, self.max_question)

    def head(self) -> Head:
        return Head("position", 2, ("start", "end"))

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        open_ = batch.targets["open"].unsqueeze(-1) > 0
        said = outputs["logits"].float().masked_fill(~open_, _LOWEST).log_softmax(1)
        sides = [
            said[:, :, k].gather(1, batch.targets[name].unsqueeze(1))[:, 0] for k, name in enumerate(("first", "last"))
        ]
        loss: Tensor = -(sides[0] + sides[1])
        return loss

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Processor) -> list[Example]:
        return [Example(one.inputs, note=one) for one in self._windows(Question.of(x), processor)]

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        asked = Question.of(x)
        found = [
            answer_spans.likeliest(output["logits"], example.note, self.longest or _LONGEST, 2 * asked.n_best)
            for example, output in zip(examples, outputs, strict=True)
        ]
        threshold = (_EVEN if self.threshold is None else self.threshold) if self.unanswerable else None
        return answer_spans.answer(asked, found, threshold)

    def tune(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> Self:
        """With the threshold, unless it was given, halfway between the shares of no answer where F1 is best."""
        if self.threshold is not None or not self.unanswerable or not answers:
            return self
        spans = [answer["best"][0] if answer["best"] else answer for answer in answers]
        right = [answer_text.best(answer_text.f1, span, true) for span, true in zip(spans, gold, strict=True)]
        gain = np.array(right) - np.array([not true["text"] for true in gold])
        shares = np.array([answer["no_answer"] for answer in answers])
        order = np.argsort(shares, kind="stable")
        bounds = np.concatenate([[0.0], shares[order], [1.0]])
        given = np.concatenate([[0.0], gain[order].cumsum()])  # what is gained where the first so many are answered
        given[1:-1][bounds[2:-1] == bounds[1:-2]] = -np.inf  # of equal shares all are answered, or none
        most = int(given.argmax())
        return self.model_copy(update={"threshold": float((bounds[most] + bounds[most + 1]) / 2)})

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Sentences with a person and a place; who and where are asked in turn."""
        names = (self.question or "question", self.context or "context", self.answer_column or "answer")
        rows = []
        for k in range(n):
            person, place = (f"{words[k // 2 % 6]} {words[(k // 2 + 1 + k // 12) % 6]}" for words in (_PEOPLE, _PLACES))
            parts = [f"mister {person} went", f"off to {place}"]
            context = " ".join([*(parts if k % 4 < 2 else parts[::-1]), *["again"] * (k % 3)])
            rows.append(dict(zip(names, (("who", "where")[k % 2], context, (person, place)[k % 2]), strict=True)))
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        return answer_spans.distance(a, b)

    def from_json(self, value: Any) -> Any:
        Question.of(value)
        return value

    def request_schema(self) -> dict[str, Any]:
        return answer_spans.REQUEST

    def answer_schema(self) -> dict[str, Any]:
        return answer_spans.ANSWER


def _refuse(rows: Sequence[int], of: int, what: str, do: str, more: str = "") -> None:
    if rows:
        one = "1 row has" if len(rows) == 1 else f"{len(rows):,} rows have"
        raise RowError(f"{one} {what}, of {of:,}, this one first{more}", row=rows[0] + 1, do=do)
