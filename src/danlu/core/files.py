"""Files and folders that are written whole or not at all, locks between processes, and the one path check.

The order of every write is: data, fsync of the file, rename, fsync of the folder. So after a power cut a name either
shows the whole new content or what was there before, and what was reported as written is on the disk.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from danlu.core.errors import DataError, MachineError

_MENDS = {
    errno.ENOSPC: "free some space (`danlu clean` shows what can go), or choose another disk with --store",
    errno.EDQUOT: "free some of your disk quota, or choose another disk with --store",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), or choose another disk with --store",
    errno.EROFS: "choose a folder on a disk that can be written to",
    errno.EACCES: "choose a folder that you may write to, or change its rights",
    errno.EPERM: "choose a folder that you may write to, or change its rights",
    errno.EIO: "the disk reports a fault: check it before writing again",
}

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of some bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits; constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn what a disk refuses (full, quota, read-only, no rights, input/output error) into a `MachineError`.

    The error names `path` and the space free there. Other errors pass through unchanged.
    """
    try:
        yield
    except OSError as fault:
        if fault.errno not in _MENDS:
            raise
        what = f"could not write: {os.strerror(fault.errno)}{_free_space(path)}"
        raise MachineError(what, where=str(path), do=_MENDS[fault.errno]) from fault


def _free_space(path: Path) -> str:
    for folder in (path, *path.parents):
        with suppress(OSError):
            return f" ({shutil.disk_usage(folder).free / 1e6:,.1f} MB free)"
    return ""


def temp_beside(path: Path) -> Path:
    """A name in the same folder that nobody else uses; it starts with `.tmp-`, so that leftovers can be told."""
    return path.with_name(f".tmp-{secrets.token_hex(8)}")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all, durably; text is UTF-8. The folder must exist.

    When it returns, the content survives a power cut. When it raises, `path` is as it was and nothing is left beside
    it. Raises `MachineError` when the disk refuses, or no file of this name can be.
    """
    temp = temp_beside(path)
    with disk_faults(path):
        if path.is_dir() and not path.is_symlink():
            raise MachineError("it is a folder, and a file is to be written", where=str(path), do="name a file")
        if not path.parent.is_dir():
            raise MachineError("there is no such folder to write into", where=str(path.parent), do="make it first")
        try:
            with temp.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            temp.replace(path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)


def make_dirs(folder: Path) -> None:
    """Make a folder and its missing parents, durably. Nothing happens when it is there. Raises `MachineError`."""
    if folder.is_dir():
        return
    make_dirs(folder.parent)
    with disk_faults(folder):
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as fault:
            raise MachineError(
                "a file is where a folder is needed", where=str(folder), do="choose another place"
            ) from fault
        except OSError as fault:
            if fault.errno in _MENDS:
                raise
            what = f"the folder can't be made: {fault.strerror}"
            raise MachineError(what, where=str(folder), do="choose another place (the store's is --store)") from fault
        fsync_dir(folder.parent)


def fsync_dir(folder: Path) -> None:
    """Make the names in a folder durable: what was created, renamed or removed there."""
    _fsync(folder, os.O_RDONLY | os.O_DIRECTORY)


def fsync_tree(folder: Path) -> None:
    """Make a whole folder durable: every file's content and every folder's names, the deepest first."""
    for place, _, files in walk(folder, topdown=False):
        for name in files:
            _fsync(Path(place, name), os.O_RDONLY)
        fsync_dir(Path(place))


def walk(folder: Path, *, topdown: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk`, which passes over a folder that the disk can't list, with that fault raised: an OSError."""

    def refuse(fault: OSError) -> None:
        raise fault

    return os.walk(folder, topdown, refuse)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish_dir(temp: Path, final: Path) -> None:
    """Give a finished folder its final name: fsync of everything in it, rename, fsync of the parent.

    Both must be on one disk. Raises `FileExistsError` when `final` is there already, also when another process made it
    in the meantime; `temp` is then untouched. Raises `MachineError` when the disk refuses.
    """
    with disk_faults(final):
        fsync_tree(temp)
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        try:
            temp.rename(final)
        except OSError as fault:
            if fault.errno in (errno.ENOTEMPTY, errno.ENOTDIR):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from fault
            raise
        fsync_dir(final.parent)


@contextmanager
def locked(path: Path, *, wait: bool = True, shared: bool = False) -> Iterator[None]:
    """Hold a lock between processes (and threads) while the block runs: `flock` on `path`, which is made when missing.

    The kernel frees it when the process dies, so a kill leaves no stale lock; the file itself stays. Any number may
    hold it `shared`, or one alone. With `wait=False` a lock that is taken raises `BlockingIOError` at once.
    """
    with disk_faults(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where the disk has no links or another disk is meant.

    A hard link shares content and rights: who writes through one name changes the other. Not durable by itself: an
    fsync of the folder must follow. Raises `FileExistsError` when `target` is there, `MachineError` when the disk
    refuses.
    """
    with disk_faults(target):
        try:
            target.hardlink_to(source)
        except OSError as fault:
            if fault.errno not in _NO_LINKS:
                raise
            shutil.copyfile(source, target)
            shutil.copymode(source, target)


def freed_by(folders: Iterable[Path]) -> int:
    """Bytes that go with these folders; a file that has a name elsewhere (a hard link) stays."""
    names: dict[tuple[int, int], int] = {}
    freed = 0
    for folder in folders:
        for file in (path for path in folder.rglob("*") if path.is_file()):
            seen = file.stat()
            inode = (seen.st_dev, seen.st_ino)
            names[inode] = names.get(inode, 0) + 1
            freed += seen.st_size if names[inode] == seen.st_nlink else 0
    return freed


def safe_join(root: Path, relative: str) -> Path:
    """The resolved path of `relative` below `root`: the one function that turns a given name into a path.

    `relative` has forward slashes and one spelling (`a/b.json`). Refused with a `DataError`: an empty or absolute path,
    `.` and `..`, `a//b`, a backslash, NUL and other control characters, and a symbolic link that leads out of `root`.
    Nothing is decoded: `%2e` is three letters. The path need not exist.
    """
    plain = relative.isprintable() and "\\" not in relative
    if not plain or any(part in ("", ".", "..") for part in relative.split("/")):
        raise DataError(
            f"{relative!r} is not a plain path below the folder",
            where=str(root),
            do="use a path such as part/name.json",
        )
    base = root.resolve()
    try:
        path = (base / relative).resolve()
    except (OSError, RuntimeError) as fault:
        raise DataError(
            f"{relative!r} cannot be resolved ({fault})", where=str(root), do="remove the looping link"
        ) from fault
    if not path.is_relative_to(base) or path == base:
        raise DataError(
            f"{relative!r} leads out of the folder, to {path}",
            where=str(root),
            do="replace the link by the file itself",
        )
    return path
