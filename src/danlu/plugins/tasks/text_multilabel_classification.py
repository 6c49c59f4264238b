"""Any number of labels for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from danlu.blocks import labels as of_labels
from danlu.blocks.portable import Piece, piece
from danlu.blocks.tables import check_columns, is_text
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Processor, Task
from danlu.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_SEPARATORS = ("|", ";", ",")
_YES_NO = {"1": True, "true": True, "0": False, "false": False}
_EVEN = 0.5
_WORDS = [
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron",
    "ivory", "jade", "karst", "lotus", "maple", "north", "olive", "pearl",
]  # fmt: skip
_FILLING = ["the", "one", "that", "came", "with", "it", "and", "then", "some", "more", "of", "this", "day", "too"]


class TextMultilabelClassification(Task):
    """Topics, tags, kinds of abuse: every text has none, one or several of a fixed set of labels.

    An answer is `{"labels": [str], "scores": {label: float}}`; every score is between 0 and 1 by itself, and the labels
    are those whose score reaches the threshold.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "input", "answer": "labels"}

    text: str | None = None
    """The column of the texts; found by its content when left open."""
    label: str | tuple[str, ...] | None = None
    """The column of the labels: lists, or text with a separator, where an empty cell is missing; or several columns of
    0 and 1, whose names are the labels. By default the only column of lists."""
    separator: str | None = Field(default=None, min_length=1)
    """What stands between the labels in a column of text; found among `|`, `;` and `,` when left open."""
    labels: tuple[str, ...] = ()
    """The labels; by default those of the training rows, sorted."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """The score from which on a label is given; by default the one with the best F1 (micro) on the validation rows."""
    max_length: int = Field(default=256, ge=3)
    """Longer texts are cut to this many tokens."""

    def columns(self) -> Columns:
        """The columns; raises RecipeError while they are left open."""
        if self.text is None or self.label is None:
            do = "data.task.text_multilabel_classification.text=<column>"
            raise RecipeError("the columns are not settled yet", do=do)
        return Columns((self.text,), (self.label,) if isinstance(self.label, str) else self.label)

    def settle(self, rows: pa.Table) -> Self:
        """Columns and separator found where left open. Raises DataError when the table lacks one."""
        label = _list_column(rows) if self.label is None else self.label
        truth = (label,) if isinstance(label, str) else label
        check_columns(rows, truth, option="data.task.text_multilabel_classification.label")
        (text,) = of_labels.find_columns(rows.drop_columns(list(truth)), self.name, text=self.text)
        separator = self.separator
        if isinstance(label, str) and separator is None and is_text(rows.schema.field(label).type):
            separator = _separator(rows.column(label).to_pylist(), label)
        return self.model_copy(update={"text": text, "label": label, "separator": separator})

    def resolve(self, rows: pa.Table) -> Self:
        """Columns found, labels listed. Raises DataError for rows that can't be learnt from."""
        settled = self.settle(rows)
        truth = rows.select(settled.columns().gold).to_pylist()
        seen = {label for row in truth for label in settled._true(row) or ()}
        listed = settled.label if isinstance(settled.label, tuple) else of_labels.in_order(seen)
        labels = self.labels or listed or ()
        if idle := [label for label in labels if label not in seen]:
            raise DataError(f"no training row has the label {idle[0]!r}", do="give rows that have it, or leave it out")
        if not 2 <= len(labels) <= of_labels.MOST_LABELS:
            what = f"{len(labels)} labels can't be learnt, 2 to {of_labels.MOST_LABELS:,} can"
            raise DataError(what, do="data.task.text_multilabel_classification.label=<column>")
        return settled.model_copy(update={"labels": labels})

    def ask(self, row: Mapping[str, Any]) -> Any:
        return row[self.columns().ask[0]]

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        true = self._true(row)
        if true is None:
            return None
        return {
            "labels": self._ordered(true),
            "scores": {label: float(label in true) for label in (*self.labels, *true)},
        }

    def _true(self, row: Mapping[str, Any]) -> list[str] | None:
        """The labels in a row; None where they are missing. Raises DataError for what can't be read as labels."""
        names = self.columns().gold
        if any(row.get(name) is None for name in names):
            return None
        if not isinstance(self.label, str):
            return [name for name in names if _yes(row[name], name)]
        cell = row[names[0]]
        if isinstance(cell, str):
            cell = [part.strip() for part in (cell.split(self.separator) if self.separator else [cell])]
        if not isinstance(cell, list | tuple):
            what = f"the column {names[0]!r} holds {type(cell).__name__}, not labels"
            raise DataError(what, do="give lists, text with a separator, or several columns of 0 and 1")
        return list(dict.fromkeys(label for part in cell if (label := of_labels.label_name(part)) is not None))

    def _ordered(self, labels: Sequence[str]) -> list[str]:
        place = {label: k for k, label in enumerate(self.labels)}
        return sorted(labels, key=lambda label: (place.get(label, len(place)), label))

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns, labels = self.columns(), list(answer["labels"])
        if not isinstance(self.label, str):
            return {columns.ask[0]: x, **{name: int(name in labels) for name in columns.gold}}
        return {columns.ask[0]: x, columns.gold[0]: self.separator.join(labels) if self.separator else labels}

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        true = self._true(row)
        if true is None or not {*true} <= {*self.labels}:
            strange = "no labels" if true is None else f"the label {next(t for t in true if t not in self.labels)!r}"
            raise DataError(
                f"a row has {strange}, in no training row", do=f"the labels are: {', '.join(self.labels[:20])}"
            )
        target = np.array([label in true for label in self.labels], dtype=np.float32)
        return [Example(self._inputs(self.ask(row), processor), {of_labels.TARGET: target})]

    def head(self) -> Head:
        return Head("input", len(self.labels), self.labels, several=True)

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return of_labels.binary_cross_entropy(outputs, batch)

    def encode(self, x: Any, processor: Processor) -> list[Example]:
        return [Example(self._inputs(x, processor))]

    def _inputs(self, x: Any, processor: Processor) -> Arrays:
        return processor.inputs(self.from_json(x), self.max_length)

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        logits = np.asarray(outputs[0]["logits"], dtype=np.float64)
        if not np.isfinite(logits).all():
            raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
        scores = dict(zip(self.labels, (1 / (1 + np.exp(-logits.clip(-500, 500)))).tolist(), strict=True))
        least = self.threshold or _EVEN
        return {"labels": [label for label, score in scores.items() if score >= least], "scores": scores}

    def tune(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> Self:
        """With the threshold, unless it was given, halfway between the scores where F1 (micro) is best and its next."""
        if self.threshold is not None:
            return self
        scores = np.array([answer["scores"][label] for answer in answers for label in self.labels])
        truth = np.array([label in one["labels"] for one in gold for label in self.labels], dtype=np.float64)
        order = np.argsort(-scores, kind="stable")
        scores, hits = scores[order], truth[order].cumsum()
        last = np.append(scores[1:] < scores[:-1], True)  # of equal scores all are given, or none
        f1 = np.where(last, 2 * hits / (np.arange(1, len(scores) + 1) + truth.sum()), -1.0)
        best = int(f1.argmax())
        below = scores[best + 1] if best + 1 < len(scores) else 0.0
        middle = float((scores[best] + below) / 2)
        return self.model_copy(update={"threshold": min(max(middle, 1e-6), 1 - 1e-6) if truth.any() else _EVEN})

    def portable(self) -> Piece:
        """How an exported script answers; see `danlu export`."""
        settings = {"labels": list(self.labels), "threshold": self.threshold or _EVEN, "limit": self.max_length}
        return Piece((piece("label_sets"), piece("read_plain")), settings)

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Sentences that hold a word for every label they have; one in so many rows has none."""
        names = self.labels or (self.label if isinstance(self.label, tuple) else ("animal", "plant"))
        rows = []
        for k in range(n):
            some = np.random.default_rng(k).random(len(names)) < 0.3
            has = [
                j
                for j in range(len(names))
                if (some[j] or j == k % (len(names) + 1)) and k % (len(names) + 1) < len(names)
            ]
            clues = [_WORDS[j % len(_WORDS)] + (_WORDS[j // len(_WORDS)] if j >= len(_WORDS) else "") for j in has]
            filling = [_FILLING[(k + j) % len(_FILLING)] for j in range(1 + k % 6)]
            words, labels = " ".join([*filling, *clues]), {"labels": [names[j] for j in has]}
            named = self.model_copy(update={"text": self.text or "text", "label": self.label or "labels"})
            rows.append(named.row(words, labels))
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        """The greatest difference between the scores of a label."""
        names = a["scores"].keys() | b["scores"].keys()
        return max((abs(a["scores"].get(name, 0.0) - b["scores"].get(name, 0.0)) for name in names), default=0.0)

    def from_json(self, value: Any) -> str:
        if not isinstance(value, str):
            raise DataError(f"a text must be a string, not {type(value).__name__}")
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"type": "string"}

    def answer_schema(self) -> dict[str, Any]:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        scores = {"type": "object", "properties": dict.fromkeys(self.labels, share), "required": list(self.labels)}
        given = {"type": "array", "items": {"enum": list(self.labels)}, "uniqueItems": True}
        return {"type": "object", "properties": {"labels": given, "scores": scores}, "required": ["labels", "scores"]}


def _list_column(rows: pa.Table) -> str:
    lists = [field.name for field in rows.schema if str(field.type).startswith(("list<", "large_list<"))]
    if len(lists) != 1:
        found = f"{len(lists)} columns hold lists" if lists else "no column holds lists"
        what = f"{found}, so which one are the labels? The columns are: {', '.join(rows.column_names)}"
        raise DataError(what, do="data.task.text_multilabel_classification.label=<column>")
    return str(lists[0])


def _separator(cells: Sequence[str | None], column: str) -> str:
    found = next((mark for mark in _SEPARATORS if any(mark in cell for cell in cells if cell)), None)
    if found is None:
        what = f"no cell of the column {column!r} holds one of {' '.join(_SEPARATORS)}, so every text has one label"
        raise DataError(what, do="task=text_classification, or name the `separator`")
    return found


def _yes(cell: Any, column: str) -> bool:
    answer = _YES_NO.get((of_labels.label_name(cell) or "").lower())
    if answer is None:
        raise DataError(f"the column {column!r} holds {cell!r}, not 0 or 1", do="leave the column out, or correct it")
    return answer
