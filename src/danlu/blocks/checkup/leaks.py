"""Rows that are trained on and measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from danlu.blocks.checkup.finding import MOST_EXAMPLES, Example, Finding, Mend, shown
from danlu.blocks.checkup.subject import Subject, texts_of
from danlu.blocks.splits import row_keys
from danlu.core.errors import DataError

_WHY = "What was learnt by heart is measured as if it were new, so every number is too good."


def check(subject: Subject) -> list[Finding] | str:
    """Rows of the source's own splits, or of a second file, whose input is among the training rows, or nearly is."""
    if not subject.columns.ask:
        return "there is no column that a task would ask about"
    found = _against(subject, subject.against) if subject.against is not None else []
    if subject.split is not None and len(set(subject.split.tolist())) > 1:
        found += _between(subject, subject.split)
    elif subject.against is None:
        return "the source brings no splits of its own; `--against test.csv` compares two files"
    return found


def _between(subject: Subject, split: np.ndarray[Any, Any]) -> list[Finding]:
    trained = split == "train"
    found = []
    for name in sorted({str(one) for one in split.tolist()} - {"train"}):
        mine = split == name
        same = mine & _meets(subject.same, trained)
        close = mine & ~same & _meets(subject.alike, trained) if subject.text_columns else np.zeros(len(split), bool)
        told = [subject.example(row, "also in train") for row in np.flatnonzero(same)[:MOST_EXAMPLES].tolist()]
        told += [subject.example(row, "nearly in train") for row in np.flatnonzero(close)[:MOST_EXAMPLES].tolist()]
        found += _told(f"the split {name}", int(same.sum()), int(close.sum()), int(mine.sum()), told, [])
    return found


def _meets(group: np.ndarray[Any, Any], those: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether the group of a row [n] holds one of those."""
    held = np.zeros(len(group), bool)
    held[group[those]] = True
    met: np.ndarray[Any, Any] = held[group]
    return met


def _against(subject: Subject, other: pa.Table) -> list[Finding]:
    names = list(subject.columns.ask)
    if lost := [name for name in names if name not in other.column_names]:
        what = f"it has no column {lost[0]!r}; its columns are: {', '.join(other.column_names)}"
        raise DataError(what, where="--against", do="give a file with the same columns")
    mine = set(row_keys(subject.table.filter(pa.array(subject.filled)), names))
    keys = row_keys(other, names)
    texts = texts_of(other, subject.text_columns) if subject.text_columns else []
    same = np.array([key in mine for key in keys], bool)
    if texts:
        same &= np.array([bool(text.strip()) for text in texts], bool)
    close = np.zeros(len(keys), bool)
    if names == subject.text_columns:
        sketch = subject.near.sketch(texts)
        close = (subject.near.matches(sketch, subject.sketch) >= 0) & ~same
        close &= np.array([bool(text.strip()) for text in texts], bool)
    told = _examples(texts, same, "also among the training rows") + _examples(texts, close, "nearly among them")
    mend = Mend("decontaminate", {"source": subject.against_source})
    return _told("the file given by --against", int(same.sum()), int(close.sum()), len(keys), told, [mend])


def _examples(texts: Sequence[str], hit: np.ndarray[Any, Any], told: str) -> list[Example]:
    return [Example(row + 1, shown(texts[row]), told) for row in np.flatnonzero(hit)[:MOST_EXAMPLES].tolist() if texts]


def _told(
    place: str, same: int, close: int, rows: int, examples: Sequence[Example], mends: Sequence[Mend]
) -> list[Finding]:
    if not same + close:
        return []
    what = (
        f"{same + close:,} of {rows:,} rows of {place} are among the training rows: {same:,} the same, {close:,} nearly"
    )
    do = "" if mends else "nothing for the same ones: prepare drops them from train; near_duplicates drops the others"
    more = mends or ([Mend("near_duplicates")] if close else [])
    return [Finding(what, "stop", same + close, _WHY, (same + close) / max(1, rows), more, examples, do=do)]
