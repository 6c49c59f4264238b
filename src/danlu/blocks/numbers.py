"""What a task that answers with a number shares: its column, its scale, its loss, its answers, and how they are read.

An answer is `{"value": float}`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from danlu.blocks.sniff import NUMBER, mostly
from danlu.blocks.tables import is_text
from danlu.blocks.text_pairs import check_column
from danlu.contracts import Answer, Arrays, Batch
from danlu.core.errors import DataError, RowError

if TYPE_CHECKING:
    from torch import Tensor

TARGET = "value"
"""The name of the target array: the true number on the scale of the training rows, float32, no axis."""
_NAMES = re.compile(
    r"(?<![a-z])(scores?|values?|ratings?|similarity|targets?|labels?|y|gold)(?![a-z])|评分|分数|相似度"
)
_IDENTIFIERS = re.compile(r"^(id|idx|index|no|nr|row|unnamed: ?\d+)$|[_ ]id$|^$", re.IGNORECASE)
_LOOKED_AT = 5000
_MOST_POINTS = 1000

# ---- the column ------------------------------------------------------------------------------------------------------


def find_number(rows: pa.Table, task: str, value: str | None, taken: Sequence[str | None] = ()) -> str:
    """The column of numbers; where left open the one whose name says so, else the last one that holds any.

    Raises DataError, with the columns there are and the override to paste, for one that is not there or not found.
    """
    path, there = f"data.task.{task}.value", ", ".join(rows.column_names)
    holding = [name for name in rows.column_names if name not in taken and _holds_numbers(rows.column(name))]
    likely = sorted((name for name in holding if not _IDENTIFIERS.search(name)), key=_named)
    if value is not None:
        check_column(rows, value, path, likely[-1] if likely else None)
        return value
    if not likely:
        raise DataError(f"no column holds numbers to learn; the columns are: {there}", do=f"{path}=<column>")
    return str(likely[-1])


def named_scale(rows: pa.Table, taken: Sequence[str]) -> str | None:
    """The last column of numbers whose name says that they are to be told; None where no name does."""
    named = [name for name in rows.column_names if name not in taken and _named(name) and not _IDENTIFIERS.search(name)]
    return next((name for name in reversed(named) if _holds_numbers(rows.column(name))), None)


def _named(column: str) -> bool:
    return bool(_NAMES.search(column.lower()))


def _holds_numbers(column: pa.ChunkedArray) -> bool:
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return True
    cells = [cell for cell in column.slice(0, _LOOKED_AT).to_pylist() if cell] if is_text(column.type) else []
    return bool(cells) and mostly(NUMBER, cells)


def number(cell: Any) -> float | None:
    """A cell as a number, also one that is written out; None for what is none, or not finite."""
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | np.number):
        return None
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def scale(rows: pa.Table, column: str, task: str) -> tuple[float, float]:
    """Mean and standard deviation of a column. Raises DataError for cells that are no numbers, or are all equal."""
    cells = rows.column(column).to_pylist()
    wrong = [place for place, cell in enumerate(cells) if number(cell) is None]
    if wrong:
        holds = "1 row holds" if len(wrong) == 1 else f"{len(wrong):,} rows hold"
        what = f"{holds} no number in the column {column!r}, this one first: {cells[wrong[0]]!r}"
        do = f"mend or remove them, or name another column: data.task.{task}.value=<column>"
        raise RowError(what, row=wrong[0] + 1, do=do)
    numbers = np.array([number(cell) for cell in cells], dtype=np.float64)
    if len(np.unique(numbers)) < 2:
        what = f"there is nothing to learn: the column {column!r} holds {f'{cells[0]:g}' if cells else 'nothing'} alone"
        raise DataError(what, do=f"data.task.{task}.value=<column>")
    return float(numbers.mean()), float(numbers.std())


# ---- loss and answers ------------------------------------------------------------------------------------------------


def squared_error(outputs: Arrays, batch: Batch) -> Tensor:
    """(`logits` [n, 1] − the true number)², both on the scale of the training rows: one number per example, [n]."""
    loss: Tensor = (outputs["logits"].float()[:, 0] - batch.targets[TARGET]).square()
    return loss


def answer(outputs: Arrays, mean: float, spread: float) -> dict[str, float]:
    """The answer from `logits` [1]. Raises DataError when it is no finite number."""
    value = mean + spread * float(np.asarray(outputs["logits"], dtype=np.float64)[0])
    if not math.isfinite(value):
        raise DataError("the model's answer is not a finite number", do="train it again with a lower lr")
    return {"value": value}


SCHEMA = {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}

# ---- what metrics read -----------------------------------------------------------------------------------------------


def read(answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The numbers given and the true ones, [2, rows]. Raises DataError when rows and answers differ in number."""
    if len(answers) != len(gold):
        raise DataError(f"there are {len(answers)} answers for {len(gold)} rows")
    return np.array([[one["value"] for one in side] for side in (answers, gold)], dtype=np.float64)


def correlation(a: Any, b: Any, weights: Any) -> float:
    """Pearson's correlation of two arrays [rows], each row counted `weights[row]` times; NaN where one is constant."""
    a, b = (side - side @ weights / weights.sum() for side in (a, b))
    power = float((a * a) @ weights) * float((b * b) @ weights)
    if power <= 0:
        return float("nan")
    return float(np.clip((a * b) @ weights / math.sqrt(power), -1.0, 1.0))


def ranks(codes: Any, weights: Any) -> Any:
    """The mean rank of every row, ties sharing theirs; `codes` [rows] number the different values in their order."""
    counted = np.bincount(codes, weights=weights)
    return (np.cumsum(counted) - counted / 2)[codes]


# ---- what a report shows ---------------------------------------------------------------------------------------------


def readable(answers: Sequence[Answer]) -> bool:
    """Whether the answers are of the shape that is told of here; another's task may say its numbers otherwise."""
    return all(isinstance(one, dict) and "value" in one for one in answers)


def details(answers: Sequence[Answer], gold: Sequence[Answer], most: int) -> dict[str, Any]:
    """`{low, high, spread, points, worst}`: both axes' ends, the true numbers' standard deviation, some of the pairs
    (true, given), and the rows `{row, gold, value}` of the greatest errors, at most so many."""
    given, true = read(answers, gold)
    some = np.linspace(0, len(true) - 1, min(len(true), _MOST_POINTS)).round().astype(int)
    order = np.argsort(-np.abs(given - true), kind="stable")[:most]
    return {
        "low": float(min(given.min(), true.min())),
        "high": float(max(given.max(), true.max())),
        "spread": float(true.std()),
        "points": [[float(true[k]), float(given[k])] for k in some],
        "worst": [{"row": int(k), "gold": float(true[k]), "value": float(given[k])} for k in order],
    }
