"""The files that a path names: one file, those of a folder, those that match a pattern, or those behind a URL.

A source is given plain files on this machine, whole and unpacked, in the order of their names: what lies elsewhere is
copied, and what is packed is unpacked, into the cache folder while it is read. Nothing is taken from outside the folder
that was named: not by `..`, not by a link.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from danlu.blocks import remote
from danlu.blocks.unpack import ARCHIVES, PACKED, Limits, unpack
from danlu.core.digests import cache_dir, file_digests, files_below, files_digest, no_such_file
from danlu.core.errors import DataError
from danlu.core.files import disk_faults, make_dirs
from danlu.core.settings import is_pattern, is_url

_LEFT_BEHIND = 2 * 86_400  # seconds: a copy this old belongs to a process that was killed


@dataclass(frozen=True, slots=True)
class File:
    """A plain file to read. `name` is its path below what was named, `shown` how errors call it."""

    name: str
    shown: str
    path: Path


Opened: TypeAlias = AbstractContextManager[list[File]]
Wanted: TypeAlias = Callable[[str], bool]


def find(place: str, endings: Sequence[str] = ()) -> list[File]:
    """The files on this machine that a path or a pattern names, in the order of their names, as they lie there.

    Of a folder those whose names end with one of `endings`, packed or not; all for none. Names that begin with a dot
    are passed over. Raises DataError when there is none, for one that is not a regular file (a device, a pipe), and for
    a link or a pattern that leads out of the folder.
    """
    path = Path(place).expanduser()
    if is_pattern(str(path)):
        return _matching(path)
    if path.is_dir():
        found = [(name, one) for name, one in _inside(path) if _ends(name, endings)]
        if not found:
            wanted = " or ".join(endings)
            raise DataError(f"there is no {wanted} file in the folder", where=str(path), do="check the path")
        return [File(name, str(one), one) for name, one in found]
    if not path.exists():
        raise no_such_file(path)
    _check_regular(path)
    return [File(path.name, str(path), path)]


def _inside(folder: Path) -> list[tuple[str, Path]]:
    found = sorted(files_below(folder))
    for name, path in found:
        check_inside(folder, path, name)
    return found


def check_inside(folder: Path, path: Path, name: str) -> None:
    """Raise DataError when `path`, links followed, does not lie in the folder, or is no regular file."""
    if not path.resolve().is_relative_to(folder.resolve()):
        do = "name the folder that it lies in, or copy the file"
        raise DataError(f"{name!r} leads out of the folder, to {path.resolve()}", where=str(folder), do=do)
    _check_regular(path)


def _check_regular(path: Path) -> None:
    if not path.is_file():
        raise DataError("it is neither a file nor a folder", where=str(path), do="name a regular file")


def _matching(pattern: Path) -> list[File]:
    parts = pattern.parts
    first = next(k for k, part in enumerate(parts) if re.search(r"[*?\[]", part))
    folder, rest = Path(*parts[:first]), "/".join(parts[first:])
    if ".." in parts[first:]:
        raise DataError("a pattern must not climb out of its folder by `..`", where=str(pattern), do="leave `..` out")
    if not folder.is_dir():
        raise no_such_file(folder)
    found = sorted((path.relative_to(folder).as_posix(), path) for path in folder.glob(rest) if not path.is_dir())
    shown = [(name, path) for name, path in found if not any(part.startswith(".") for part in name.split("/"))]
    for name, path in shown:
        check_inside(folder, path, name)
    if not shown:
        raise DataError("no file matches the pattern", where=str(pattern), do="check it; `**/` stands for any folders")
    return [File(name, str(path), path) for name, path in shown]


def _ends(name: str, endings: Sequence[str]) -> bool:
    return not endings or plain_name(name).lower().endswith(tuple(endings))


def plain_name(name: str) -> str:
    """A file's name without the ending that says how it is packed: `a.csv` of `a.csv.gz`."""
    return name[: -len(Path(name).suffix)] if name.lower().endswith(PACKED) else name


def names(place: str, endings: Sequence[str] = ()) -> list[str]:
    """The names of the files that a path, a pattern or a URL names, in order, without reading one."""
    if is_url(place):
        return [one.name for one in remote.find(place, lambda name: _ends(name, endings))]
    return [one.name for one in find(place, endings)]


def fingerprint(place: str, endings: Sequence[str] = ()) -> str:
    """What lies behind a URL or matches a pattern; empty for a plain path, which a plan looks at itself.

    A file elsewhere counts by what its server says of its state (ETag, or size and time), else by its content.
    """
    if is_url(place):
        return files_digest({one.name: one.state() for one in remote.find(place, lambda name: _ends(name, endings))})
    if is_pattern(str(Path(place).expanduser())):
        return files_digest(file_digests({one.name: one.path for one in find(place)}))
    return ""


@contextmanager
def opened(place: str, endings: Sequence[str], limits: Limits, wanted: Wanted | None = None) -> Iterator[list[File]]:
    """The files that `place` names (of these the wanted names), on this machine and unpacked, while the block runs.

    Raises DataError as `find` and `unpack` do, MachineError where a server can't be reached or the disk is full.
    """
    with spool() as folder:
        files = _fetched(place, endings, limits, wanted, folder) if is_url(place) else find(place, endings)
        yield [_plain(one, folder, limits) for one in files if wanted is None or wanted(one.name)]


def _fetched(place: str, endings: Sequence[str], limits: Limits, wanted: Wanted | None, spool: Path) -> list[File]:
    found = remote.find(place, lambda name: _ends(name, endings))
    chosen = [one for one in found if wanted is None or wanted(one.name)]
    files = []
    with remote.Fetching(chosen, spool, limits.total) as fetching:
        for k, one in enumerate(chosen):
            target = spool / f"fetched{k}" / Path(one.name).name
            target.parent.mkdir()
            files.append(File(one.name, one.shown, fetching.take().replace(target)))
    return files


def _plain(file: File, spool: Path, limits: Limits) -> File:
    lower = file.name.lower()
    if lower.endswith(ARCHIVES) or plain_name(lower).endswith(".tar"):
        raise DataError("it is an archive", where=file.shown, do="unpack it, and name the folder")
    if not lower.endswith(PACKED):
        return file
    target = Path(tempfile.mkdtemp(dir=spool)) / plain_name(Path(file.name).name)
    unpack(file.path, target, limits, file.shown)
    return File(file.name, file.shown, target)


@contextmanager
def spool() -> Iterator[Path]:
    """A folder in the cache that is gone afterwards, with those that killed processes left behind."""
    home = cache_dir() / "reading"
    with disk_faults(home):
        make_dirs(home)
        for left in home.iterdir():
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def named(file: File) -> Iterator[None]:
    """Let errors call a file as its user does, not by the copy that is read."""
    try:
        yield
    except DataError as fault:
        fault.what = fault.what.replace(str(file.path), file.shown)
        fault.where = fault.where.replace(str(file.path), file.shown)
        raise
