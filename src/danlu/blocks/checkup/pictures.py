"""Pictures: broken, tiny, nearly the same, of odd colours or odd shape."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from danlu.blocks.checkup.finding import MOST_EXAMPLES, Example, Finding, Mend, counted, graded, shown
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.lookalikes import look, picture_clusters
from danlu.blocks.pixels import open_picture
from danlu.blocks.report.inputs import thumbnail
from danlu.core.errors import DataError

_TINY = 16
_LONG = 4.0
_BITS, _DIFFERENCE = 6, 12.0
"""What counts as nearly the same: as the operator `near_duplicates` has it."""
_MOST_PAIRED = 20_000


@dataclass(frozen=True, slots=True)
class _Seen:
    row: int
    width: int
    height: int
    mode: str
    hash: Any
    small: Any


def check(subject: Subject) -> list[Finding] | str:
    """Every picture is opened once; up to 20,000 are compared with one another."""
    if not subject.picture_columns:
        return "there are no pictures"
    found: list[Finding] = []
    for name in subject.picture_columns:
        cells = subject.table.column(name)
        seen, broken = _look_at(cells)
        found += _broken(subject, broken)
        if seen:
            found += [
                _sizes(seen),
                *_tiny(subject, cells, seen),
                *_odd(subject, cells, seen),
                *_alike(subject, cells, seen),
            ]
    return found


def _look_at(cells: Any) -> tuple[list[_Seen], dict[int, str]]:
    """What there is to see, and why the others can't be opened."""
    seen, broken = [], {}
    for row, cell in enumerate(cell for chunk in cells.chunks for cell in chunk):
        picture = cell.as_py()
        if picture is None:
            continue
        try:
            mode = _mode(picture)
            opened = open_picture(picture)
            hashes, small = look([opened])
        except (DataError, OSError, ValueError, Image.DecompressionBombError) as error:
            broken[row] = error.what if isinstance(error, DataError) else type(error).__name__
        else:
            seen.append(_Seen(row, opened.width, opened.height, mode, hashes[0], small[0]))
    return seen, broken


def _mode(cell: dict[str, Any]) -> str:
    """The colours as the file has them."""
    content = cell["bytes"] if cell.get("bytes") is not None else Path(cell["path"]).read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        return str(picture.mode)


def _broken(subject: Subject, broken: dict[int, str]) -> list[Finding]:
    if not broken:
        return []
    examples = [subject.example(row, shown(why)) for row, why in list(broken.items())[:MOST_EXAMPLES]]
    what = f"{counted(len(broken), 'picture', 'pictures')} can't be opened"
    do = "mend or remove them; a folder of pictures may say `on_error: skip`"
    return [Finding(what, "stop", len(broken), "Training stops at the first of them.", len(broken) / subject.rows,
                    examples=examples, do=do)]  # fmt: skip


def _sizes(seen: Sequence[_Seen]) -> Finding:
    sizes = Counter(f"{one.width} × {one.height}" for one in seen)
    middle = sorted(seen, key=lambda one: one.width * one.height)[len(seen) // 2]
    what = f"{counted(len(seen), 'picture', 'pictures')} of {counted(len(sizes), 'size', 'sizes')}"
    what += f", the middle one {middle.width} × {middle.height}"
    return Finding(what, "note", len(seen), "A backbone scales them all to one size.", bars=sizes.most_common(8))


def _tiny(subject: Subject, cells: Any, seen: Sequence[_Seen]) -> list[Finding]:
    tiny = [one for one in seen if min(one.width, one.height) < _TINY]
    why = "There is next to nothing to see; they are often icons, or what a download left."
    return _few(subject, cells, tiny, f"less than {_TINY} pixels wide or high", why, len(seen))


def _odd(subject: Subject, cells: Any, seen: Sequence[_Seen]) -> list[Finding]:
    modes = Counter(one.mode for one in seen)
    usual = modes.most_common(1)[0][0]
    other = [one for one in seen if one.mode != usual]
    told = ", ".join(f"{mode} {count:,}" for mode, count in modes.most_common())
    why = f"Colour alone can give a label away where one source has it ({told}); all are read as grey or RGB."
    long = [one for one in seen if max(one.width, one.height) >= _LONG * min(one.width, one.height)]
    stretched = "Scaled to a square they are squeezed beyond recognition."
    return [
        *_few(subject, cells, other, f"of other colours than the rest ({usual})", why, len(seen)),
        *_few(subject, cells, long, f"{_LONG:g} times as long as wide, or more", stretched, len(seen)),
    ]


def _few(subject: Subject, cells: Any, some: Sequence[_Seen], what: str, why: str, total: int) -> list[Finding]:
    if not some:
        return []
    examples = [
        _pictured(subject, cells, one, f"{one.width} × {one.height}, {one.mode}") for one in some[:MOST_EXAMPLES]
    ]
    do = "look at them, and drop or mend those that are wrong"
    return [
        Finding(
            f"{counted(len(some), 'picture is', 'pictures are')} {what}",
            graded(len(some) / total, 0.01),
            len(some),
            why,
            len(some) / total,
            examples=examples,
            do=do,
        )
    ]


def _alike(subject: Subject, cells: Any, seen: Sequence[_Seen]) -> list[Finding]:
    chosen = seen[:: -(-len(seen) // _MOST_PAIRED)]
    first = picture_clusters(
        np.array([one.hash for one in chosen], np.uint64), np.stack([one.small for one in chosen]), _BITS, _DIFFERENCE
    )
    again = np.flatnonzero(first != np.arange(len(first)))
    if not len(again):
        return []
    examples = []
    for place in again[:MOST_EXAMPLES].tolist():
        other = chosen[int(first[place])]
        examples += [
            _pictured(subject, cells, other, ""),
            _pictured(subject, cells, chosen[place], f"nearly the same as row {subject.number(other.row):,}"),
        ]
    sampled = f" (of a sample of {len(chosen):,})" if len(chosen) < len(seen) else ""
    what = f"{counted(len(again), 'picture is', 'pictures are')} the same as an earlier one, or nearly{sampled}"
    why = "Copies in train and test flatter a measurement; prepare keeps equal ones apart, near ones not."
    share = len(again) / len(chosen)
    return [Finding(what, graded(share, 0.01), len(again), why, share, [Mend("near_duplicates")], examples)]


def _pictured(subject: Subject, cells: Any, one: _Seen, told: str) -> Example:
    return Example(subject.number(one.row), subject.example(one.row).text, told, thumbnail(cells[one.row].as_py()))
