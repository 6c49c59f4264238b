"""The rows of a JSON file, which is an array of objects or an object of columns, in bounded memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from danlu.blocks.objects import LONGEST, Found, no_number, once
from danlu.blocks.places import File
from danlu.core.errors import DataError

_CHUNK = 1 << 20
_LARGEST = 256 << 20
"""Bytes of an object of columns, which is read whole."""
_SOLID = re.compile(r"[^ \t\r\n]")
_DECODER = json.JSONDecoder(object_pairs_hook=once, parse_constant=no_number)
_DO = 'write an array of objects, [{"text": "…"}, …], or JSON Lines, and read them by `jsonl`'


def read_array(file: File) -> Iterator[Found]:
    """Every item of the array: its number, and its object or what is wrong with it.

    Raises DataError when the file is no array of objects and no object of columns, and where it is no JSON: what comes
    after such a place can't be told apart.
    """
    with file.path.open("rb") as stream:
        text = _Text(stream, file)
        first = text.peek()
        if first == "{":
            yield from _columns(file)
        elif first == "[":
            yield from _items(text, file)
        else:
            raise DataError("it is neither an array nor an object", where=file.shown, do=_DO)


class _Text:
    """What is still to be read of a file; a piece of it is in memory."""

    def __init__(self, stream: IO[bytes], file: File) -> None:
        self._stream, self._file = stream, file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._held, self._place, self._ended = "", 0, False
        self.item = 0

    def fault(self, what: str) -> DataError:
        return DataError(what, where=f"{self._file.shown}, item {self.item}" if self.item else self._file.shown, do=_DO)

    def _more(self) -> bool:
        if self._ended:
            return False
        content = self._stream.read(_CHUNK)
        try:
            more = self._decoder.decode(content, final=not content)
        except UnicodeDecodeError as fault:
            raise self.fault(f"it is not UTF-8: {fault.reason}") from fault
        self._held, self._place, self._ended = self._held[self._place :] + more, 0, not content
        return True

    def peek(self) -> str:
        """The next character that is no white space, which stays; empty at the end."""
        while (found := _SOLID.search(self._held, self._place)) is None:
            self._place = len(self._held)
            if not self._more():
                return ""
        self._place = found.start()
        return found[0]

    def skip(self) -> None:
        """Pass over the character that `peek` gave."""
        self._place += 1

    def value(self) -> Any:
        """The next value. Raises DataError when it is no JSON, or longer than a row can be."""
        while True:
            try:
                value, self._place = _DECODER.raw_decode(self._held, self._place)
            except (ValueError, RecursionError) as fault:
                if isinstance(fault, RecursionError) or len(self._held) - self._place > LONGEST or not self._more():
                    raise self.fault(f"it is not JSON: {fault}") from fault
            else:
                return value


def _items(text: _Text, file: File) -> Iterator[Found]:
    text.skip()
    if text.peek() == "]":
        text.skip()
    else:
        sign = ","
        while sign == ",":
            text.item += 1
            text.peek()
            yield text.item, _row(text.value(), f"{file.shown}, item {text.item}")
            sign = text.peek()
            text.skip()
        if sign != "]":
            raise text.fault(f"after it comes {sign!r}, not a comma or the end of the array")
    if text.peek():
        raise text.fault("after the array comes more")


def _row(value: Any, where: str) -> dict[str, Any] | DataError:
    if isinstance(value, dict) and value:
        return value
    return DataError(f"an item must be an object with keys, not {str(value)[:40]!r}", where=where, do=_DO)


def _columns(file: File) -> Iterator[Found]:
    if file.path.stat().st_size > _LARGEST:
        raise DataError(f"it is an object of more than {_LARGEST >> 20} MB", where=file.shown, do=_DO)
    try:
        columns = json.loads(file.path.read_text("utf-8-sig"), object_pairs_hook=once, parse_constant=no_number)
    except (ValueError, RecursionError) as fault:
        raise DataError(f"it is not JSON: {fault}", where=file.shown, do=_DO) from fault
    for name, values in columns.items():
        if isinstance(values, list) and any(isinstance(value, dict) for value in values):
            what = f"its rows lie deeper, below the key {name!r}"
            raise DataError(what, where=file.shown, do=f"write that array alone, or: jq .{name}")
        if not isinstance(values, list):
            what = f"it is an object, and {name!r} holds no list of values, as a column does"
            raise DataError(what, where=file.shown, do=_DO)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
        raise DataError(f"its columns are not of one length: {told}", where=file.shown, do="fill in null")
    for number, row in enumerate(zip(*columns.values(), strict=True), 1):
        yield number, dict(zip(columns, row, strict=True))
