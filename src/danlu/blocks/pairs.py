"""What the tasks share that write a text from a text: columns, the tokens at its ends, what the model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from danlu.blocks.beam import Beginning
from danlu.blocks.likelihood import SCORE
from danlu.blocks.tables import is_text
from danlu.contracts import Example
from danlu.core.errors import DataError, RecipeError, RowError

if TYPE_CHECKING:
    import pyarrow as pa

ASKED = {
    "type": "object",
    "properties": {SCORE: {"type": "string"}, "source": {"type": "string"}},
    "required": [SCORE, "source"],
    "additionalProperties": False,
}

# ---- columns ---------------------------------------------------------------------------------------------------------


def find_columns(rows: pa.Table, task: str, source: str | None, target: str | None) -> tuple[str, str]:
    """The columns of the texts that are read and written; where left open, those called `source` and `target`.

    Raises DataError, with the columns there are, where one is not there or holds no text.
    """
    found = []
    for option, name in (("source", source), ("target", target)):
        do = f"data.task.{task}.{option}=<column>"
        column = name or option
        if column not in rows.column_names:
            what = f"there is no column {column!r}; the columns are: {', '.join(rows.column_names)}"
            raise DataError(what, do=do)
        if not is_text(rows.schema.field(column).type):
            raise DataError(f"the column {column!r} holds {rows.schema.field(column).type}, not text", do=do)
        found.append(column)
    if found[0] == found[1]:
        raise DataError(
            f"{found[0]!r} is both what is read and what is written", do=f"data.task.{task}.target=<column>"
        )
    return found[0], found[1]


def settled(source: str | None, target: str | None, task: str) -> tuple[str, str]:
    """Both columns, once they are settled. Raises RecipeError before."""
    if source is None or target is None:
        raise RecipeError("the columns are not settled yet", do=f"data.task.{task}.source=<column>")
    return source, target


def check_whole(rows: pa.Table, column: str) -> None:
    """Raise DataError where a text is missing or empty: nothing can be learnt from it."""
    blank = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(rows.column(column))), 0), True)
    empty = np.flatnonzero(np.asarray(blank.to_numpy(zero_copy_only=False), dtype=bool))
    if len(empty):
        what = f"{len(empty):,} of {rows.num_rows:,} rows have no text in {column!r}, this one first"
        raise RowError(what, row=int(empty[0]) + 1, do="operators: [drop_empty]")


# ---- tokens ----------------------------------------------------------------------------------------------------------


def start(processor: Any) -> int:
    """The id that a text begins with which is yet to be written: a T5's is the one that pads."""
    found: int = processor.pad_id
    return found


def end(processor: Any) -> int:
    """The id that ends a text. Raises RecipeError where the tokenizer has none."""
    found: int | None = processor.special("eos_token")
    if found is None:
        what = "the tokenizer has no token that ends a text, so writing would not stop"
        raise RecipeError(what, where="backbone", do="backbone=t5, with a tokenizer that is learnt")
    return found


# ---- what the model is asked -----------------------------------------------------------------------------------------


def scored(x: Any) -> tuple[str, str] | None:
    """Source and target of an input that asks how likely a text is, else None. Raises DataError for another shape."""
    if not isinstance(x, Mapping) or SCORE not in x:
        return None
    if set(x) != {SCORE, "source"} or not all(isinstance(text, str) for text in x.values()):
        raise DataError(f'`{{"{SCORE}": text, "source": text}}` holds two texts and nothing else')
    return x["source"], x[SCORE]


def after(inputs: Mapping[str, Any], written: Beginning) -> Example:
    """The example that asks for the token after what was written."""
    ids = np.array(written.ids, dtype=np.int64)
    at = np.array([len(ids) - 1])
    return Example({**inputs, "decoder_input_ids": ids, "at": at}, keep=True, state=written.state)


def told(inputs: Mapping[str, Any], first: int, ids: Sequence[int]) -> Example:
    """The example that asks how likely these ids are; nothing but the end is asked of an empty text."""
    given = np.array([first, *ids[:-1]], dtype=np.int64)
    asked = {"decoder_input_ids": given, "at": np.arange(len(ids)), "tokens": np.array(ids, dtype=np.int64)}
    return Example({**inputs, **asked}, note=len(ids))
