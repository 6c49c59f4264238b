"""What all sources of files have in common: where the files lie, their splits, and where a row stands."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from danlu.blocks import places
from danlu.blocks.places import File
from danlu.blocks.skipping import OnError, Skipping
from danlu.blocks.unpack import Limits
from danlu.contracts import Source
from danlu.core.errors import DataError, RecipeError
from danlu.core.settings import Rows, is_url

_SPLIT = re.compile(r"(train|validation|test)(?![A-Za-z0-9])")


class FileSource(Source):
    """Reads files in the order of their names. Derive from it, and write `read`.

    When every file of a folder or a pattern, or its folder, is named `train…`, `validation…` or `test…`, these are the
    splits.
    """

    main: ClassVar[str] = "path"
    endings: ClassVar[tuple[str, ...]] = ()
    """What the files of a folder are known by; a file that is named itself may be called anything."""

    path: Rows
    """A file, a folder, a pattern (`data/**/*.csv`; relative to the recipe) or a URL (`s3://…`, `https://…`)."""
    unpacked_gb: float = Field(100, gt=0)
    """How large a packed file (`.gz`, `.bz2`, `.xz`, `.zst`) may unpack, or one elsewhere be, in GB."""
    unpacked_ratio: float = Field(250, gt=1)
    """How many times its size a packed file may unpack to, beyond 64 MB; text comes to 3 to 20."""

    @abstractmethod
    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        """The rows of plain files, in their order, all under one schema; each batch with the file it comes from."""

    def line(self, file: File, row: int, skipping: Skipping) -> str:
        """Where row `row` of a file stands in it, counted from 0, after `read` got there: `line 18`."""
        return f"row {row + 1}"

    def skipping(self) -> Skipping:
        """How a reading deals with faults."""
        return Skipping("stop", 0)

    def splits(self) -> tuple[str, ...]:
        names = places.names(self.path, self.endings)
        alone = len(names) == 1 and self.path.partition("?")[0].endswith(names[0])
        named = {"" if alone else _split_of(name) for name in names}
        return () if "" in named else tuple(sorted(named))

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        with self._opened(split) as files:
            stamps = [_stamp(file) for file in files]
            yield from (batch for _, batch in self.read(files, self.skipping()))
            for file, stamp in zip(files, stamps, strict=True):
                if _stamp(file) != stamp:
                    raise DataError("it was changed while it was read", where=file.shown, do="try again later")

    def bytes_about(self) -> int:
        """The sizes of files on this machine, as they lie there; those of their splits in sum."""
        if is_url(self.path):
            return 0
        with suppress(OSError):  # told when it is read
            return sum(file.path.stat().st_size for file in places.find(self.path, self.endings))
        return 0

    def fingerprint(self) -> str | None:
        """Of a URL or a pattern what lies there now; a plain path is looked at by the plan."""
        return places.fingerprint(self.path, self.endings)

    def origin(self, row: int, split: str = "") -> str:
        """Where a row comes from: `reviews.csv, line 18`. Rows count from 0, in the order of `rows(split)`.

        It reads up to that row. Raises DataError when there are fewer.
        """
        with self._opened(split) as files:
            before, counted, last = 0, 0, None
            skipping = self.skipping()
            for file, batch in self.read(files, skipping):
                if file is not last:
                    before, last = counted, file
                counted += batch.num_rows
                if row < counted:
                    return f"{file.shown}, {self.line(file, row - before, skipping)}"
        raise DataError(f"there is no row {row}: there are {counted}", where=self.path)

    def _opened(self, split: str) -> places.Opened:
        have = self.splits() if split else ()
        if split and split not in have:
            what = f"there is no split {split!r} in {self.path}; there are: {', '.join(have) or 'none'}"
            raise RecipeError(what, do="leave the split out")
        limits = Limits(int(self.unpacked_gb * 1e9), self.unpacked_ratio)
        wanted = (lambda name: _split_of(name) == split) if split else None
        return places.opened(self.path, self.endings, limits, wanted)


class ParsedSource(FileSource):
    """A source of files in which a single row may be broken."""

    on_error: OnError = "stop"
    """What is done about a row that can't be read: `stop` there, or `skip` it, counted and told."""
    most_skipped: float = Field(0.01, ge=0, le=1)
    """The share of rows that may be skipped; above it reading stops."""

    def skipping(self) -> Skipping:
        return Skipping(self.on_error, self.most_skipped)


def _split_of(name: str) -> str:
    """The split that a file, or a folder it lies in, is named for; empty where there is none."""
    return next((found[1] for part in name.split("/") if (found := _SPLIT.match(part))), "")


def _stamp(file: File) -> tuple[int, int, int]:
    try:
        seen = file.path.stat()
    except OSError as fault:
        raise DataError(f"it can't be read: {fault.strerror}", where=file.shown) from fault
    return seen.st_size, seen.st_mtime_ns, seen.st_ino
