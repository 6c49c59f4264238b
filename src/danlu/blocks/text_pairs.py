"""One or two texts as an input: the columns they lie in, how they are asked for, and what a request holds.

Two texts are `{"text": str, "text_pair": str}`, and a processor gets them as a tuple: both go into one pass of the
model, told apart by their token types where it has any, and the longer one is cut first.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from danlu.blocks.sniff import sniff
from danlu.blocks.tables import is_text
from danlu.core.errors import DataError

Texts: TypeAlias = str | tuple[str, str]
TEXT, PAIR = "text", "text_pair"
_PAIRS = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("question1", "question2"),
    ("text1", "text2"), ("text_a", "text_b"), (TEXT, PAIR), ("s1", "s2"), ("question", "answer"),
)  # fmt: skip
"""What the columns of two texts are usually called."""


def find_texts(rows: pa.Table, task: str, columns: Mapping[str, str | None], taken: tuple[str, ...] = ()) -> list[str]:
    """The column of each text, by option (`{"text": "premise", "text_pair": None}`).

    One left open is found by what it holds, in the order of the table; `taken` are columns of something else. Raises
    DataError, with the columns there are and the override to paste, for one that is not there or holds no text.
    """
    named = [*(column for column in columns.values() if column), *taken]
    free = _texts_in(rows.drop_columns([name for name in named if name in rows.column_names]))
    wanted = sum(column is None for column in columns.values())
    open_ones = sorted(free[:wanted], key=rows.column_names.index)
    found = []
    for option, column in columns.items():
        path = f"data.task.{task}.{option}"
        if column is None:
            if not open_ones:
                what = f"no column was found for the option {option}; the columns are: {', '.join(rows.column_names)}"
                raise DataError(what, do=f"{path}=<column>")
            column = open_ones.pop(0)
        check_column(rows, column, path, free[0] if free else None)
        if not is_text(rows.schema.field(column).type):
            raise DataError(f"the column {column!r} holds {rows.schema.field(column).type}, not text", do=_do(path))
        found.append(column)
    if len(set(found)) < len(found):
        what = f"the column {found[0]!r} is named twice, and every row would be a pair of equal texts"
        raise DataError(what, do=f"data.task.{task}.{list(columns)[-1]}=<column>")
    return found


def named_pair(columns: Sequence[str]) -> tuple[str, str] | None:
    """The two columns whose names say that they are the texts of a pair."""
    names = {column.lower().replace(" ", "_"): column for column in columns}
    return next(((names[one], names[other]) for one, other in _PAIRS if {one, other} <= names.keys()), None)


def check_column(rows: pa.Table, column: str, path: str, likely: str | None = None) -> None:
    """Raise DataError, with the columns there are and the override to paste, for a column that is not there."""
    if column not in rows.column_names:
        what = f"there is no column {column!r}; the columns are: {', '.join(rows.column_names)}"
        raise DataError(what, do=_do(path, likely))


def _do(path: str, column: str | None = None) -> str:
    if column is None:
        return f"{path}=<column>"
    return shlex.quote(f"{path}={column if column.isidentifier() else json.dumps(column, ensure_ascii=False)}")


def _texts_in(rows: pa.Table) -> list[str]:
    """The columns of text, the likeliest first."""
    found: list[str] = []
    while (likely := sniff(rows).text) is not None:
        found.append(likely)
        rows = rows.drop_columns([likely])
    return found


# ---- inputs ----------------------------------------------------------------------------------------------------------


def texts_of(x: Any, *, pair: bool) -> Texts:
    """What a processor takes of an input. Raises DataError for one of another shape."""
    if not pair:
        if not isinstance(x, str):
            raise DataError(f"a text must be a string, not {type(x).__name__}")
        return x
    if not isinstance(x, Mapping) or x.keys() != {TEXT, PAIR} or not all(isinstance(x[k], str) for k in (TEXT, PAIR)):
        raise DataError(f'an input is two texts: {{"{TEXT}": "…", "{PAIR}": "…"}}')
    return (x[TEXT], x[PAIR])


def joined(x: Any) -> str:
    """The texts of an input as one, for what is learnt from words."""
    return x if isinstance(x, str) else "\n".join((x[TEXT], x[PAIR]))


def schema(*, pair: bool) -> dict[str, Any]:
    """JSON Schema of an input."""
    one = {"type": "string"}
    if not pair:
        return one
    both = {TEXT: one, PAIR: one}
    return {"type": "object", "properties": both, "required": list(both), "additionalProperties": False}
