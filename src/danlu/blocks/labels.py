"""What every task that answers with one label shares: the labels of a column, targets, loss, answers.

An answer is `{"label": str, "confidence": float, "scores": {label: float}}`. Labels are strings: numbers and booleans
are written out (`1`, `true`).
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.portable import Piece, piece
from danlu.blocks.sniff import Sniffed, sniff
from danlu.contracts import Arrays, Batch
from danlu.core.errors import DataError, RowError

if TYPE_CHECKING:
    from torch import Tensor

MOST_LABELS = 1000
TARGET = "label"
"""The name of the target array: the place of the true label among the labels, int64, no axis; where several labels can
hold, 1 or 0 for each, float32 [labels]."""


# ---- columns and labels ----------------------------------------------------------------------------------------------


def find_columns(table: pa.Table, task: str, **columns: str | None) -> list[str]:
    """The names of a task's columns (`text="comment", label=None`); one left open is found by what it holds.

    Raises DataError, with the columns there are and the override to paste, for one that is not there or not found.
    """
    given = [column for column in columns.values() if column is not None]
    rest = table.drop_columns([column for column in given if column in table.column_names])
    sniffed = sniff(rest) if None in columns.values() else Sniffed()
    there = f"; the columns are: {', '.join(table.column_names)}"
    found: list[str] = []
    for option, column in columns.items():
        name: str | None = column or getattr(sniffed, option)
        if name is None:
            reasons = "".join(f"\n    {reason}" for reason in sniffed.reasons)
            what = f"no column was found for the {option}{there}{reasons}"
            raise DataError(what, do=f"data.task.{task}.{option}=<column>")
        if name not in table.column_names:
            likely = getattr(sniff(rest), option)
            do = _override(f"data.task.{task}.{option}", likely) if likely else f"data.task.{task}.{option}=<column>"
            raise DataError(f"there is no column {name!r}{there}", do=do)
        found.append(name)
    return found


def _override(path: str, column: str) -> str:
    """The override that chooses a column, quoted for YAML and the shell where it must be."""
    plain = column.isidentifier() and column.lower() not in ("true", "false", "null")
    return shlex.quote(f"{path}={column if plain else json.dumps(column, ensure_ascii=False)}")


def label_name(value: Any) -> str | None:
    """A cell as a label: `1` for 1 and 1.0, `true` for True; None for a missing one (null, NaN, empty)."""
    if value is None or value == "" or value != value:  # NaN alone differs from itself
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def list_labels(table: pa.Table, column: str, task: str) -> tuple[str, ...]:
    """The labels in a column: numbers by value, words by alphabet.

    Raises DataError when a row has none, when there is one label only, and when they are numbers on a scale, or so many
    that it can't be the column of the labels.
    """
    values = table.column(column)
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
        raise DataError(f"the column {column!r} holds {values.type}, not labels", do=f"data.task.{task}.label=<column>")
    missing = [row for row, value in enumerate(values.to_pylist()) if label_name(value) is None]
    if missing:
        rows = "1 row has" if len(missing) == 1 else f"{len(missing):,} rows have"
        what = f"{rows} no label in the column {column!r}, this one first"
        raise RowError(what, row=missing[0] + 1, do="fill them in, or remove them: an empty label can't be learnt")
    distinct = pc.unique(values).to_pylist()
    if any(isinstance(value, float) and not value.is_integer() for value in distinct):
        one = next(value for value in distinct if value % 1)
        what = f"the column {column!r} holds numbers on a scale, such as {one}, not labels"
        raise DataError(what, do="cut the scale into named steps (low, high), or name another column")
    names = {name for value in distinct if (name := label_name(value)) is not None}
    if len(names) < 2:
        found = f"only {names.pop()!r}" if names else "no row"
        what = f"there is nothing to tell apart: the column {column!r} has {found}"
        raise DataError(what, do="give rows of at least two labels")
    if len(names) > MOST_LABELS or (len(names) > 20 and 2 * len(names) > len(values)):
        what = f"too many labels: the column {column!r} has {len(names):,} different values in {len(values):,} rows"
        raise DataError(what, do=f"data.task.{task}.label=<column>; the columns are: {', '.join(table.column_names)}")
    return in_order(names)


def in_order(names: set[str]) -> tuple[str, ...]:
    """Labels sorted: by value when all are whole numbers, else by alphabet."""
    whole = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(names, key=int if whole else str))


def target(label: Any, labels: Sequence[str]) -> dict[str, Any]:
    """The target arrays of a row with this label; raises DataError for one that is not among the labels."""
    name = label_name(label)
    if name not in labels:
        what = "a row has no label" if name is None else f"the label {name!r} is in no training row"
        raise DataError(what, do=f"the labels are: {', '.join(labels[:20])}")
    return {TARGET: np.int64(labels.index(name))}


# ---- loss and answers ------------------------------------------------------------------------------------------------


def cross_entropy(outputs: Arrays, batch: Batch) -> Tensor:
    """Cross entropy of `logits` [n, labels] against the true labels: one number per example, [n]."""
    scores = outputs["logits"].float().log_softmax(-1)
    loss: Tensor = -scores.gather(-1, batch.targets[TARGET][:, None])[:, 0]
    return loss


def binary_cross_entropy(outputs: Arrays, batch: Batch) -> Tensor:
    """Cross entropy of each of the `logits` [n, labels] by itself, summed over the labels: one number per example."""
    scores, truth = outputs["logits"].float(), batch.targets[TARGET]
    each = scores.clamp(min=0) - scores * truth + (-scores.abs()).exp().log1p()
    loss: Tensor = each.sum(-1)
    return loss


def answer(outputs: Arrays, labels: Sequence[str]) -> dict[str, Any]:
    """The answer from `logits` [labels]: a softmax in float64. Raises DataError when they are not numbers."""
    logits = np.asarray(outputs["logits"], dtype=np.float64)
    powers = np.exp(logits - logits.max())
    scores = powers / powers.sum()
    if not np.isfinite(scores).all():
        raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
    best = int(scores.argmax())
    named = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    return {"label": labels[best], "confidence": float(scores[best]), "scores": named}


def portable(labels: Sequence[str], reading: str, limit: int | None = None) -> Piece:
    """How an exported script makes the same answers; `reading` is the piece that reads an input from JSON."""
    return Piece((piece("labels"), piece(reading)), {"labels": list(labels), "limit": limit})


def certain(label: Any, labels: Sequence[str]) -> dict[str, Any] | None:
    """A true label in the form of an answer; None where there is none."""
    name = label_name(label)
    if name is None:
        return None
    return {"label": name, "confidence": 1.0, "scores": dict.fromkeys(labels, 0.0) | {name: 1.0}}


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Total variation of the scores of two answers: 0 the same, 1 nothing in common."""
    names = a["scores"].keys() | b["scores"].keys()
    return math.fsum(abs(a["scores"].get(name, 0.0) - b["scores"].get(name, 0.0)) for name in names) / 2


def answer_schema(labels: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of an answer."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    scores = {"type": "object", "properties": dict.fromkeys(labels, share), "required": list(labels)}
    return {
        "type": "object",
        "properties": {"label": {"enum": list(labels)}, "confidence": share, "scores": scores},
        "required": ["label", "confidence", "scores"],
    }
