"""Files in one encoding: lines in another are left out, counted, where faults are skipped."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping
from danlu.blocks.textfile import LONGEST_LINE, EncodingError, scan
from danlu.core.digests import cache_dir
from danlu.core.errors import DataError
from danlu.core.files import disk_faults, make_dirs


@dataclass(frozen=True, slots=True)
class Readable:
    """A file that can be decoded, and the numbers of the lines that were left out of it, ascending."""

    file: File
    left_out: Sequence[int] = ()

    def line(self, number: int) -> int:
        """The number in the file itself of a line of what is left."""
        gone = 0
        while (more := bisect_right(self.left_out, number + gone)) != gone:
            gone = more
        return number + gone


@contextmanager
def readable(files: Sequence[File], encoding: str, skipping: Skipping) -> Iterator[list[Readable]]:
    """The files, while the block runs; those with lines in another encoding as copies without these lines."""
    if not skipping.skips:
        yield [Readable(file) for file in files]
        return
    home = cache_dir() / "reading"
    with disk_faults(home):
        make_dirs(home)
    with tempfile.TemporaryDirectory(dir=home) as spool:
        yield [_readable(file, encoding, skipping, Path(spool) / str(k)) for k, file in enumerate(files)]


def _readable(file: File, encoding: str, skipping: Skipping, target: Path) -> Readable:
    try:
        scan(file.path, encoding)
    except EncodingError as fault:
        left_out = []
        with file.path.open("rb") as stream, disk_faults(target), target.open("wb") as out:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), 1):
                try:
                    line.decode(fault.encoding)
                    out.write(line)
                except UnicodeDecodeError:
                    what = f"the line is not {fault.encoding}"
                    skipping.fault(DataError(what, where=f"{file.shown}, line {number}"), (file.name, number))
                    left_out.append(number)
        return Readable(replace(file, path=target), left_out)
    return Readable(file)
