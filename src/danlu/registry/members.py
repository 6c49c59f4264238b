"""The members of a tar.gz, a zip or a folder, one after the other; only plain files, read in pieces, never too much."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from danlu.core.errors import DataError, RecipeError
from danlu.core.files import disk_faults, fsync_dir, make_dirs, temp_beside
from danlu.registry.content import listing

MOST_MEMBERS = 10_000
_AT_ONCE = 1 << 20
_MOST_HEADER = 16 << 20

Read: TypeAlias = Callable[[int], Iterator[bytes]]
"""The content in pieces, given how long it may be at most; raises DataError when it is longer."""


# ---- writing ---------------------------------------------------------------------------------------------------------


def write_members(target: Path, members: Mapping[str, bytes | Path]) -> None:
    """Write an archive by the ending of its name, whole or not at all; equal members give equal bytes."""
    pack = next((pack for ending, pack in _PACKS.items() if target.name.endswith(ending)), None)
    if pack is None:
        raise RecipeError("an archive ends in .tar.gz or .zip", where=str(target), do=f"--archive {target.stem}.tar.gz")
    if os.path.lexists(target):
        raise RecipeError("it is there already, and nothing is overwritten", where=str(target), do="name another")
    make_dirs(target.absolute().parent)
    temp = temp_beside(target.absolute())
    with disk_faults(target):
        try:
            with temp.open("xb") as file:
                pack(file, members)
                file.flush()
                os.fsync(file.fileno())
            temp.rename(target)
            fsync_dir(target.absolute().parent)
        finally:
            temp.unlink(missing_ok=True)


def _pack_tar(file: IO[bytes], members: Mapping[str, bytes | Path]) -> None:
    with (
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in members.items():
            told = tarfile.TarInfo(name)
            told.mode = 0o444
            told.size = content.stat().st_size if isinstance(content, Path) else len(content)
            with _reading(content) as reader:
                archive.addfile(told, reader)


def _pack_zip(file: IO[bytes], members: Mapping[str, bytes | Path]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            told = zipfile.ZipInfo(name)
            told.compress_type, told.external_attr = zipfile.ZIP_DEFLATED, (stat.S_IFREG | 0o444) << 16
            told.file_size = content.stat().st_size if isinstance(content, Path) else len(content)
            with _reading(content) as reader, archive.open(told, "w") as writer:
                for piece in iter(lambda: reader.read(_AT_ONCE), b""):
                    writer.write(piece)


_PACKS = {".zip": _pack_zip, ".tar.gz": _pack_tar, ".tgz": _pack_tar}


@contextmanager
def _reading(content: bytes | Path) -> Iterator[Any]:
    if isinstance(content, Path):
        with content.open("rb") as reader:
            yield reader
    else:
        yield _Bytes(content)


class _Bytes:
    """Just enough of a file to be read once."""

    def __init__(self, data: bytes) -> None:
        self.left = memoryview(data)

    def read(self, count: int) -> bytes:
        piece, self.left = self.left[:count], self.left[count:]
        return bytes(piece)


# ---- reading ---------------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> Iterator[Iterator[tuple[str, Read]]]:
    """The members of an archive or of its unpacked folder: name and content, the record first where it is a folder.

    Raises RecipeError when it is neither, DataError for a member that is no plain file.
    """
    with ExitStack() as stack:
        try:
            if path.is_dir():
                yield _folder_members(path)
            elif path.name.endswith(".zip"):
                yield _zip_members(stack.enter_context(zipfile.ZipFile(path)))
            elif path.name.endswith((".tar.gz", ".tgz")):
                yield _tar_members(stack, path)
            else:
                raise RecipeError("this is neither a .tar.gz, a .zip nor a folder", where=str(path), do="name one")
        except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile) as fault:
            raise DataError(f"the archive is damaged: {fault}", where=path.name, do="export it again") from fault


def _folder_members(folder: Path) -> Iterator[tuple[str, Read]]:
    for name in sorted(listing(folder), key=lambda name: (name != "version.json", name)):
        with (folder / name).open("rb") as file:
            yield name, _reader(name, file)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, Read]]:
    for told in archive.infolist():
        kind = stat.S_IFMT(told.external_attr >> 16)
        if told.is_dir():
            continue
        odd = told.flag_bits & 1 or told.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if kind not in (0, stat.S_IFREG) or odd or told.orig_filename != told.filename:
            raise DataError(f"{told.orig_filename!r} is no plain file", where=str(archive.filename))
        with archive.open(told) as file:
            yield told.filename, _reader(told.filename, file)


def _tar_members(stack: ExitStack, path: Path) -> Iterator[tuple[str, Read]]:
    stream = stack.enter_context(_Sober(path))
    archive = stack.enter_context(tarfile.TarFile(fileobj=stream))
    for member in archive:
        if member.isdir():
            continue
        file = archive.extractfile(member) if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else None
        if file is None or member.issparse():
            raise DataError(f"{member.name!r} is no plain file", where=path.name)
        yield member.name, _reader(member.name, file)


class _Sober(gzip.GzipFile):
    """It gives no huge piece at once: a header that says it is long is not read into memory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MOST_HEADER:
            raise DataError(f"a header in it says that it has {size} bytes", do="export it again")
        return super().read(size)


def _reader(name: str, file: Any) -> Read:
    def read(most: int) -> Iterator[bytes]:
        left = most
        while piece := file.read(min(_AT_ONCE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise DataError(f"{name!r} is longer than it says", do="export it again")
            yield piece

    return read
