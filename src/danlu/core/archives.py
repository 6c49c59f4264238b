"""Take single members out of a wheel, zip, tar or Debian package, without trusting what the archive says."""

from __future__ import annotations

import stat
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from danlu.core.errors import DataError, MachineError
from danlu.core.files import disk_faults, safe_join

_MOST_BYTES = 4 << 30
_CHUNK = 1 << 20


def extract(archive: Path, patterns: Sequence[str], into: Path) -> None:
    """Extract the members that match into the folder `into`, which must exist.

    In a pattern `*` also matches `/`; a member lands under its path below the pattern's last folder without a `*`
    (`a/b/*.txt` puts `a/b/c/d.txt` at `c/d.txt`). `outer!inner` is a member of an archive within the archive. Raises
    DataError when a pattern matches nothing, for a link, a path that leaves the folder, a name that comes twice, a
    damaged archive, and more than 4 GiB in all.
    """
    try:
        _Extraction(into).take(archive, patterns)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as fault:
        raise DataError(f"the archive is damaged: {fault}", where=archive.name, do="fetch it again") from fault


class _Extraction:
    def __init__(self, into: Path) -> None:
        self.into, self.bytes_left = into, _MOST_BYTES

    def take(self, archive: Path, patterns: Sequence[str]) -> None:
        matched = set()
        for name, content in _members(archive):
            pattern = next((p for p in patterns if fnmatchcase(name, p.partition("!")[0])), None)
            if pattern is None:
                continue
            if content is None:
                raise DataError(f"{name} is a link or a device", where=archive.name, do="leave it out of the members")
            matched.add(pattern)
            outer, _, inner = pattern.partition("!")
            if inner:
                self._take_nested(name, content, inner)
            else:
                self._write(content, safe_join(self.into, name.removeprefix(_literal_folder(outer))))
        if missing := [p for p in patterns if p not in matched]:
            raise DataError(f"it holds no member {missing[0]}", where=archive.name)

    def _take_nested(self, name: str, content: IO[bytes], inner: str) -> None:
        with tempfile.TemporaryDirectory(dir=self.into.parent, prefix=".tmp-") as folder:
            archive = Path(folder, name.rpartition("/")[2])
            self._write(content, archive)
            self.take(archive, [inner])

    def _write(self, content: IO[bytes], path: Path) -> None:
        with disk_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise DataError(f"two members would be written to {path.name}", where=str(self.into))
            with path.open("xb") as file:
                while chunk := content.read(_CHUNK):
                    self.bytes_left -= len(chunk)
                    if self.bytes_left < 0:
                        raise DataError(f"it unpacks to more than {_MOST_BYTES >> 30} GiB", where=path.name)
                    file.write(chunk)


def _literal_folder(pattern: str) -> str:
    head = pattern.partition("*")[0]
    return head[: head.rfind("/") + 1]


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of every member that is not a folder; no content for what is not a plain file."""
    if archive.suffix in (".whl", ".zip"):
        return _zip_members(archive)
    if archive.suffix == ".deb":
        return _deb_members(archive)
    return _tar_members(archive)


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                yield info.filename, None
            elif not info.is_dir():
                with opened.open(info) as content:
                    yield info.filename, content


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(archive, "r|*") as opened:
        yield from _read_tar(opened)


def _deb_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    command = ["dpkg-deb", "--fsys-tarfile", str(archive.absolute())]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError as fault:
        raise MachineError("dpkg-deb is not on this machine", where=archive.name, do="use Debian or Ubuntu") from fault
    with process, tarfile.open(fileobj=process.stdout, mode="r|") as opened:
        yield from _read_tar(opened)


def _read_tar(opened: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes] | None]]:
    for member in opened:
        if not member.isdir():
            yield member.name.removeprefix("./"), opened.extractfile(member) if member.isreg() else None
