"""The CSV that a person fills in: rows to label, with what a model guesses, and an empty column for the label.

It opens in a spreadsheet (UTF-8 with a mark), so nothing in it may be taken for a number or a formula there.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from danlu.blocks.delimited import read_delimited
from danlu.blocks.textfile import scan
from danlu.core.errors import DataError
from danlu.core.plugin import did_you_mean

_BEFORE = ("row", "digest")
_AFTER = ("guess", "confidence", "why")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_TOLD = 10
_ENCODINGS = ("", "gb18030", "big5", "shift_jis", "cp1252")
_Cells: TypeAlias = tuple[str, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Filled:
    """A sheet that was read back: `rows` are pairs (input, label), `empty` counts the rows without a label."""

    column: str
    label: str
    rows: list[tuple[str, str]]
    empty: int

    @property
    def counted(self) -> dict[str, int]:
        """Label → rows, the commonest first."""
        return dict(Counter(label for _, label in self.rows).most_common())


def sheet(column: str, label: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The sheet's text, without the mark; rows have row, input, guess, confidence and why."""
    lines = [[*_BEFORE, column, *_AFTER, label]]
    for one in rows:
        sure = "" if one["confidence"] is None else f"{one['confidence']:.3f}"
        told = [_guarded(str(one[part])) for part in ("input", "guess")]
        lines.append([str(one["row"]), _digest(one["input"]), told[0], told[1], sure, one["why"], ""])
    return _csv(lines)


def read_sheet(path: Path, labels: Sequence[str], *, partial: bool = False) -> Filled:
    """What a person filled in. `labels` are those allowed; empty: any.

    Raises DataError, with the lines, for a file that is no such sheet, for inputs that were changed, for labels that
    nobody knows and, unless `partial`, for rows left empty.
    """
    column, label, cells = _cells(path)
    faults: list[str] = []
    rows, empty = [], 0
    for number, digest, given, chosen in cells:
        text, name = _plain(given or ""), _plain(chosen or "").strip()
        if _digest(text) != digest:
            faults.append(f"row {number}: its {column} was changed")
        elif not name:
            empty += 1
        elif labels and name not in labels:
            faults.append(f"row {number}: {name!r} is no label{did_you_mean(name, list(labels))}")
        else:
            rows.append((text, name))
    if faults:
        more = [f"and {len(faults) - _TOLD} more"] if len(faults) > _TOLD else []
        told = "\n    ".join([f"{len(faults)} rows can't be taken", *faults[:_TOLD], *more])
        raise DataError(told, where=str(path), do=f"correct them; the labels are: {', '.join(labels) or 'any'}")
    if not rows:
        raise DataError("no row has a label", where=str(path), do=f"fill in the column {label!r}")
    if empty and not partial:
        what = f"{empty} of {empty + len(rows)} rows have no label yet"
        raise DataError(what, where=str(path), do="fill them in, or take the others with --partial")
    return Filled(column, label, rows, empty)


def appended(path: Path, filled: Filled) -> tuple[bytes, int]:
    """The bytes of a labelled CSV, new or as it is, with these rows after its own; how many were added.

    A row that is there already is not added. Raises DataError for a file with other columns or another encoding, and
    for an input that would stand under two labels.
    """
    header = codecs.BOM_UTF8 + _csv([[filled.column, filled.label]]).encode()
    content, known = _labelled(path, filled) if path.exists() else (header, {})
    fresh: dict[str, str] = {}
    for text, label in filled.rows:
        other = known.get(text) or fresh.setdefault(text, label)
        if other != label:
            what = f"the same {filled.column} is labelled {other!r} and {label!r}: {text:.60}"
            raise DataError(what, where=str(path), do="correct one of the two")
    fresh = {text: label for text, label in fresh.items() if text not in known}
    return content + _csv(fresh.items()).encode(), len(fresh)


def _labelled(path: Path, filled: Filled) -> tuple[bytes, dict[str, str]]:
    batches, wanted = list(read_delimited(path, delimiter=",")), [filled.column, filled.label]
    names = batches[0].schema.names if batches else wanted
    if names != wanted:
        what = f"its columns are {', '.join(names)}, and the sheet's {', '.join(wanted)}"
        raise DataError(what, where=str(path), do="give --out another name")
    if (encoding := scan(path).encoding) not in ("utf-8", "utf-8-sig"):
        raise DataError(f"it is written in {encoding}", where=str(path), do="save it as UTF-8, or give another name")
    pairs = (pair for batch in batches for pair in zip(*(c.to_pylist() for c in batch.columns), strict=True))
    content = path.read_bytes()
    return content if content.endswith(b"\n") else content + b"\n", dict(pairs)


def _cells(path: Path) -> tuple[str, str, list[_Cells]]:
    """The names of the input's and of the label's column, and row, digest, input and label of every line.

    Spreadsheets save in encodings of their own, and a guess may be wrong; the digests say which one is right.
    """
    best, most = _cells_in(path, ""), -1
    for encoding in _ENCODINGS:
        with suppress(DataError):
            read = _cells_in(path, encoding)
            right = sum(_digest(_plain(cells[2] or "")) == cells[1] for cells in read[2])
            best, most = (read, right) if right > most else (best, most)
            if right == len(read[2]):
                break
    return best


def _cells_in(path: Path, encoding: str) -> tuple[str, str, list[_Cells]]:
    batches = list(read_delimited(path, encoding=encoding))
    names = batches[0].schema.names if batches else []
    if len(names) < 7 or tuple(names[:2]) != _BEFORE or tuple(names[3:6]) != _AFTER:
        wanted = ", ".join([*_BEFORE, "…", *_AFTER, "…"])
        what = f"its columns are {', '.join(names)}, and those of a sheet begin {wanted}"
        raise DataError(what, where=str(path), do="give the file that `danlu data label` wrote, its columns in order")
    places = (0, 1, 2, 6)
    rows = [row for batch in batches for row in zip(*(batch.column(k).to_pylist() for k in places), strict=True)]
    return names[2], names[6], rows


def _csv(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _digest(text: str) -> str:
    """A letter first: a spreadsheet takes `12e456…` for a number. Line ends are the spreadsheet's to choose."""
    ends = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"x{hashlib.sha256(ends.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _guarded(text: str) -> str:
    """What a spreadsheet would run as a formula gets an apostrophe before it, which `_plain` takes away again."""
    return f"'{text}" if _FORMULA.match(text) else text


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
