"""Small questions about Arrow tables that operators and the sniffer share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from danlu.core.errors import DataError

MOST_SAMPLES = 10
_SHOWN_CHARACTERS = 500
LIKE_MISSING = frozenset({"nan", "none", "null", "nil", "n/a", "na", "#n/a", "<na>"})
"""How spreadsheets, databases and data frames write a missing value, in lower case."""


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def check_columns(table: pa.Table, names: Sequence[str], *, option: str) -> None:
    """Raise DataError, with the columns there are, when the table lacks one; `option` is where the recipe names it."""
    for name in names:
        if name not in table.column_names:
            there = ", ".join(table.column_names)
            raise DataError(f"there is no column {name!r}; the columns are: {there}", do=f"change {option}")


def shown_rows(
    table: pa.Table, rows: Sequence[int] | np.ndarray[Any, Any], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Up to ten rows for a report, as JSON values: long texts are cut, bytes are counted."""
    thin = table.select(list(dict.fromkeys(columns)))
    few = pa.concat_tables([thin.slice(0, 0), *(thin.slice(int(row), 1) for row in rows[:MOST_SAMPLES])])  # no join
    return [{name: shown(value) for name, value in row.items()} for row in few.to_pylist()]


def shown(value: Any) -> Any:
    """A cell for a report."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f"{value[:_SHOWN_CHARACTERS]}…"
    if isinstance(value, dict):
        return {name: shown(part) for name, part in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)
