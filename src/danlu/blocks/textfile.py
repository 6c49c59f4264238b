"""Read through a text file once: which encoding, how long its lines are, and whether it is text at all."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from danlu.core.digests import no_such_file
from danlu.core.errors import DataError, RecipeError

LONGEST_LINE = 16 << 20
"""Characters. A longer line is refused before it is read whole: such a file is not a table."""

_CHUNK = 1 << 20
_SAMPLE = 1 << 18
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH = re.compile(rb"[\x80-\xff]+")
_MULTIBYTE = ["gb18030", "big5", "shift_jis", "euc_kr", "cp1251"]


@dataclass(frozen=True, slots=True)
class Scan:
    """What reading through a file showed; `longest_line` is in characters, and at least one chunk."""

    encoding: str
    longest_line: int
    quotes: int
    notes: tuple[str, ...] = ()


def scan(path: Path, encoding: str = "") -> Scan:
    """Read through a file, in constant memory; an `encoding` that is not given is found out.

    A mark at the beginning (BOM) decides, else UTF-8 where all bytes fit, else a guess, told in `notes`. Raises
    DataError, with the line, when the file is missing, empty or no text, and for a line of more than 16 M characters.
    """
    _check_file(path)
    if encoding:
        try:
            codecs.lookup(encoding)
        except LookupError as fault:
            raise RecipeError(
                f"there is no encoding {encoding!r}", do="use utf-8, gb18030, cp1252, utf-16 …"
            ) from fault
        return _read_through(path, encoding)
    with path.open("rb") as file:
        head = file.read(4)
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), "")
    if marked:
        return _read_through(path, marked)
    try:
        return _read_through(path, "utf-8")
    except EncodingError as fault:
        return _guessed(path, fault)


def _guessed(path: Path, fault: EncodingError) -> Scan:
    sample = _odd_lines(path)
    if _is_mixed(sample):
        fault.what = f"{fault.what}, which other lines are: the file mixes encodings"
        fault.do = "save it in one encoding; or `on_error: skip` leaves such lines out, counted"
        raise fault
    guess = _guess(sample)
    if not guess:
        raise fault
    found = _read_through(path, guess)
    shown = sample.decode(guess, errors="replace").splitlines()[0].strip()[:40]
    note = f"{path.name} is not UTF-8; it was read as {guess}, a guess: {shown!r}. If that is wrong, set `encoding`"
    return Scan(guess, found.longest_line, found.quotes, (note,))


def _guess(sample: bytes) -> str:
    """In Western text bytes beyond ASCII stand alone between letters, in all others they stand together."""
    high = [byte > 127 for byte in sample]
    alone = sum(here and not (before or after) for before, here, after in zip([False, *high], high, [*high[1:], False]))
    if alone > sum(high) / 2:
        return "latin-1" if set(sample) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252"
    best = from_bytes(sample, cp_isolation=_MULTIBYTE).best()
    return best.encoding if best else ""


def _is_mixed(sample: bytes) -> bool:
    """Whether more lines are UTF-8 than chance makes of another encoding.

    A byte beyond ASCII in GB18030 and its kin fits UTF-8 in about 4 of 10 cases; one that stands alone never does.
    """
    fit, chance = 0, 0.0
    for line in sample.split(b"\n"):
        runs = [len(run) for run in _HIGH.findall(line)]
        if min(runs, default=1) > 1:
            chance += 0.42 ** sum(runs)
        with suppress(UnicodeDecodeError):
            fit += bool(runs) and bool(line.decode("utf-8"))
    return fit > 2 * chance + 1


def _odd_lines(path: Path) -> bytes:
    """Lines with bytes beyond ASCII, up to 256 KiB of them."""
    kept = bytearray()
    with path.open("rb") as file:
        for line in file:
            if not line.isascii():
                kept += line
            if len(kept) > _SAMPLE:
                break
    return bytes(kept[:_SAMPLE]).rpartition(b"\n")[0] or bytes(kept[:_SAMPLE])


class EncodingError(DataError):
    """The bytes do not fit the encoding that the file is in, or was said to be in."""

    encoding = "utf-8"


def _read_through(path: Path, encoding: str) -> Scan:
    lines, unfinished, longest, quotes, blank = 0, 0, _CHUNK, 0, True
    for text in _decoded(path, encoding):
        if "\0" in text:
            line = lines + text[: text.index("\0")].count("\n") + 1
            hint = "if it is UTF-16, set `encoding: utf-16-le`; else it is not a text file"
            raise DataError("it holds NUL bytes", where=f"{path}, line {line}", do=hint)
        first, last = _ends(text)
        longest = max(longest, unfinished + (first if first >= 0 else len(text)))
        unfinished = len(text) - last - 1 if last >= 0 else unfinished + len(text)
        if max(unfinished, longest) > LONGEST_LINE:
            what = f"a line has more than {LONGEST_LINE >> 20} million characters"
            raise DataError(what, where=f"{path}, after line {lines}", do="is it one file of rows? A row is one line")
        lines += text.count("\n")
        quotes += text.count('"')
        blank = blank and not text.strip("\ufeff \t\r\n")
    if blank:
        raise DataError("the file is empty", where=str(path), do="name a file with a header and rows")
    return Scan(encoding, longest, quotes)


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            try:
                yield decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as fault:
                line = lines + fault.object[: fault.start].count(b"\n") + 1
                what = f"the bytes {fault.object[fault.start : fault.start + 4].hex(' ')} are not {encoding}"
                do = "set `encoding` to the file's own"
                found = EncodingError(what, where=f"{path}, line {line}", do=do)
                found.encoding = encoding
                raise found from fault
            if not chunk:
                return
            lines += chunk.count(b"\n")


def _ends(text: str) -> tuple[int, int]:
    """Where the first and the last line end in a piece of text; -1 where none does."""
    mark = "\n" if "\n" in text else "\r"
    return text.find(mark), text.rfind(mark)


def _check_file(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise DataError("it is a folder", where=str(path), do="name one file in it")
    if path.exists():
        raise DataError("it is not a regular file", where=str(path), do="name a file")
    raise no_such_file(path)
