"""SHA-256 of files and folders, remembered by path, size and times, so that unchanged data is not read twice."""

from __future__ import annotations

import difflib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from danlu.core.errors import DataError
from danlu.core.files import sha256_bytes, sha256_file

_FRESH_NS = 2_000_000_000
"""A file written this recently is not remembered: a second write within the clock's grain would look like the first."""

_TABLE = "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL)"


def cache_dir() -> Path:
    """Where assets and digests are kept between runs: `DANLU_CACHE`, else `~/.cache/danlu`."""
    given = os.environ.get("DANLU_CACHE")
    return Path(given).expanduser().absolute() if given else Path.home() / ".cache" / "danlu"


def path_digest(path: Path) -> str:
    """What a file or folder holds, as 64 hexadecimal digits: a file's SHA-256, a folder's over its names and contents.

    Where it lies and when it was written do not matter. Raises DataError when it is neither, or changes meanwhile.
    """
    if not path.exists():
        raise no_such_file(path)
    if path.is_dir():
        return files_digest(folder_digests(path))
    return file_digests({path.name: path})[path.name]


def no_such_file(path: Path) -> DataError:
    """The error for a path that is not there; it names the files in the folder that may be meant."""
    folder = path.parent
    if not folder.is_dir():
        return DataError("there is no such file, nor its folder", where=str(path), do="check the path")
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.7)
    near = near or [name for name in names if path.suffix and name.endswith(path.suffix)][:3]
    do = f"in that folder there is: {', '.join(near)}" if near else "check the path"
    return DataError("there is no such file", where=str(path), do=do)


def files_digest(digests: Mapping[str, str]) -> str:
    """One SHA-256 for a set of files, given relative path → SHA-256."""
    return sha256_bytes("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode())


def folder_digests(folder: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file in a folder; names that begin with a dot are left out.

    Links are followed. Raises DataError for a link that leads round in a circle or to nothing, and for what is neither
    file nor folder.
    """
    return file_digests(dict(files_below(folder)))


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative path and path of every file in a folder, as `folder_digests` takes them, in the order of names."""
    yield from _files(folder, "", ())


def _files(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, Path]]:
    here = folder.stat()
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        raise DataError("a link leads back to a folder above it", where=str(folder), do="remove the link")
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        mode = _stat(Path(entry.path)).st_mode
        if S_ISDIR(mode):
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/", (*above, identity))
        else:
            yield f"{prefix}{entry.name}", Path(entry.path)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as fault:
        raise DataError(f"it can't be read: {fault.strerror}", where=str(path)) from fault


def _stamp(path: Path) -> tuple[str, int]:
    """What a file looks like from outside, and when it was last touched (ns). The change time can't be set by hand."""
    seen = _stat(path)
    if not S_ISREG(seen.st_mode):
        raise DataError("it is neither a file nor a folder", where=str(path), do="name a regular file")
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}", max(seen.st_mtime_ns, seen.st_ctime_ns)


def file_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Name → SHA-256 of each file. Raises DataError for one that is missing, can't be read, or changes meanwhile."""
    known = _Memory()
    with closing(known):
        return {name: known.digest(path) for name, path in files.items()}


class _Memory:
    """The digests known so far. Where the cache folder can't be used, everything is read anew."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.Error):
            cache_dir().mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(cache_dir() / "digests.db", timeout=10)
            self._db.execute(_TABLE)

    def digest(self, path: Path) -> str:
        stamp, touched = _stamp(path)
        key = os.fspath(path.absolute())
        rows = self._ask("SELECT sha256 FROM digests WHERE path = ? AND stamp = ?", key, stamp)
        if rows:
            return str(rows[0][0])
        try:
            value = sha256_file(path)
        except OSError as fault:
            raise DataError(f"it can't be read: {fault.strerror}", where=str(path)) from fault
        if _stamp(path)[0] != stamp:
            raise DataError("it was changed while it was read", where=str(path), do="try again when it is whole")
        if abs(time.time_ns() - touched) > _FRESH_NS:
            self._ask("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", key, stamp, value)
        return value

    def _ask(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        with suppress(sqlite3.Error):
            if self._db is not None:
                return self._db.execute(statement, values).fetchall()
        return []

    def close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.commit()
            self._db.close()
