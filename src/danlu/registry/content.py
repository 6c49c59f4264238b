"""The files of a version as a folder: what may come in, how it is built from blobs, whether it is still the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG

from danlu.core.errors import DataError
from danlu.core.files import disk_faults, link_or_copy, publish_dir, safe_join, sha256_file, temp_beside, walk
from danlu.registry.blobs import Blobs
from danlu.registry.formats import check_format
from danlu.registry.versions import StoredFile


def listing(folder: Path) -> list[str]:
    """The relative paths of all files below a folder, sorted; forward slashes. Empty folders do not count.

    Raises `DataError` for a link, a device or another thing that is not a plain file, and for a name that `safe_join`
    refuses.
    """
    return sorted(_names(folder))


def _names(folder: Path) -> Iterator[str]:
    for place, folders, files in walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or (name in files and not S_ISREG(path.lstat().st_mode)):
                do = "replace it by the file itself"
                raise DataError(f"{relative} is a link or a device, not a plain file", where=str(folder), do=do)
            if name in files:
                safe_join(folder, relative)
                yield relative


def check_folder(folder: Path) -> list[str]:
    """The relative paths of a folder that may be published; a `DataError` names the first file that may not."""
    if not folder.is_dir():
        raise DataError("there is no such folder to publish", where=str(folder), do="run the steps before it")
    names = listing(folder)
    if not names:
        raise DataError("there is no file in it to publish", where=str(folder), do="run the steps before it")
    for name in names:
        check_format(folder / name, name)
    return names


def find_fault(folder: Path, files: Mapping[str, StoredFile]) -> tuple[str, str] | None:
    """Compare a folder with what it should hold, reading every byte: the first path that differs and how, or None."""
    there = set(listing(folder))
    for path, file in files.items():
        if path not in there:
            return path, "is missing"
        if sha256_file(folder / path) != file.sha256:
            return path, "was changed: its SHA-256 differs"
    extra = sorted(there - files.keys())
    return (extra[0], "does not belong to it") if extra else None


def build(folder: Path, files: Mapping[str, StoredFile], blobs: Blobs) -> tuple[str, str] | None:
    """Make a read-only folder of hard links to blobs (copies where the disk has no links), whole or not at all.

    Returns what `find_fault` finds, and then there is no folder. Nothing happens when another process made it
    meanwhile. Raises `MachineError` when the disk refuses.
    """
    temp = temp_beside(folder)
    try:
        with disk_faults(folder):
            fault = _fill(temp, files, blobs)
        if not fault:
            publish_dir(temp, folder)
    except FileExistsError:
        return None
    finally:
        remove(temp)
    return fault


def _fill(temp: Path, files: Mapping[str, StoredFile], blobs: Blobs) -> tuple[str, str] | None:
    for path, file in files.items():
        target = temp / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if blobs.path(file.sha256).is_file():
            link_or_copy(blobs.path(file.sha256), target)
    for place, _, _ in os.walk(temp):
        Path(place).chmod(0o555)  # so that no library leaves a cache or lock file beside the weights
    return find_fault(temp, files)


def remove(folder: Path) -> None:
    """Remove a folder, also a read-only one; nothing happens when there is none."""
    for place, _, _ in os.walk(folder):
        Path(place).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
