"""Files kept by the SHA-256 of their content: equal content is stored once, and no caller ever names a path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from danlu.core.errors import DataError
from danlu.core.files import disk_faults, fsync_dir, make_dirs, sha256_file, temp_beside
from danlu.registry.versions import StoredFile


class Blobs:
    """The files `<folder>/<aa>/<sha256>`, where `aa` are the first two digits; read-only, whole, durable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the content of this digest lies, or would lie."""
        return self.folder / sha256[:2] / sha256

    def is_whole(self, sha256: str) -> bool:
        """Whether the content is there and still has its digest; reads all of it."""
        path = self.path(sha256)
        return path.is_file() and sha256_file(path) == sha256

    def put(self, source: Path) -> tuple[StoredFile, bool]:
        """Store the content of a file; when this returns, it is on the disk.

        Content that is there already is read and reused; when it was damaged it is replaced, and the second value is
        true. Raises `DataError` when the file changes while it is read, `MachineError` when the disk refuses; neither
        leaves anything behind.
        """
        file = StoredFile(sha256_file(source), source.stat().st_size)
        target = self.path(file.sha256)
        was_there = target.exists()
        if was_there and self.is_whole(file.sha256):
            return file, False
        make_dirs(target.parent)
        temp = temp_beside(target)
        with disk_faults(target):
            try:
                _copy_durably(source, temp)
                if sha256_file(temp) != file.sha256:
                    raise DataError("it was changed while it was read", where=str(source), do="publish again")
                temp.replace(target)
            finally:
                temp.unlink(missing_ok=True)
            fsync_dir(target.parent)
        return file, was_there

    def stored(self) -> Iterator[Path]:
        """Every file in the store, also what a killed writer left half-written (`.tmp-…`)."""
        if self.folder.is_dir():
            for part in self.folder.iterdir():
                if part.is_dir():
                    yield from part.iterdir()


def _copy_durably(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fchmod(writer.fileno(), 0o444)
        os.fsync(writer.fileno())
