"""The objects of a JSON Lines file, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from danlu.blocks.objects import LONGEST, Found, parse
from danlu.blocks.places import File
from danlu.core.errors import DataError

_MARK = b"\xef\xbb\xbf"


def read_lines(file: File) -> Iterator[Found]:
    """Every line that holds something: its number, and its object or what is wrong with it."""
    with file.path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LONGEST + 1), b""), 1):
            where = f"{file.shown}, line {number}"
            if len(line) > LONGEST:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(LONGEST)
                what = f"the line has more than {LONGEST >> 20} million bytes"
                yield number, DataError(what, where=where, do="one row a line")
            elif text := line.removeprefix(_MARK if number == 1 else b"").strip():
                yield number, _object(text, where)


def _object(text: bytes, where: str) -> dict[str, Any] | DataError:
    try:
        row = parse(text.decode("utf-8"))
    except UnicodeDecodeError as fault:
        return DataError(f"it is not UTF-8: {fault.reason}", where=where, do="save the file as UTF-8")
    except (ValueError, RecursionError) as fault:
        return DataError(f"it is not JSON: {fault}", where=where, do="write one JSON object a line")
    if not isinstance(row, dict) or not row:
        return DataError(f"a line must be an object with keys, not {text[:40]!r}", where=where, do='{"text": "…"}')
    return row
