"""What a piece of work asks of the kernel (by strace), with kills and refusals at any of its calls, and the disk that a
power cut after any of them may leave."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from danlu.core.errors import DanluError

REFUSED = 40
CHANGING = ("mkdir", "mkdirat", "openat", "ftruncate", "write", "pwrite64", "fsync", "fdatasync", "link", "linkat")
CHANGING += ("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat")
ASKING = ("getdents64", "read", "newfstatat", "close")
CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
HANDLE = re.compile(r"^(?:\d+|AT_FDCWD)<([^>]*)>")


def _may_trace() -> bool:
    strace = shutil.which("strace")
    return bool(strace) and subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True).returncode == 0


needs_strace = pytest.mark.skipif(not _may_trace(), reason="needs strace, and the right to use it")


@dataclass(frozen=True)
class Call:
    """One call that was made: its name, the paths it is about (the last is what comes out), its bytes, its result."""

    name: str
    paths: tuple[str, ...]
    data: bytes
    arguments: str
    result: int


def _traced(process: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{process}/status").read_text()


def trace(work: Callable[[], object], out: Path, *inject: str) -> tuple[int, list[Call]]:
    """Do `work` in a fork under strace; returns its wait status and its calls. `REFUSED` is the exit status for a
    DanluError, 41 for any other exception. `inject` are strace's expressions, such as `fsync:error=EIO:when=3`."""
    child = os.fork()
    if child == 0:
        status = 41
        try:
            os.kill(os.getpid(), signal.SIGSTOP)  # until it is traced: so nothing but the work is
            work()
            status = 0
        except DanluError:
            status = REFUSED
        finally:
            os._exit(status)
    command = ["strace", "-f", "-p", str(child), "-o", str(out), "-y", "-xx", "-s", "1000000"]
    command += ["-e", f"trace={','.join((*CHANGING, *ASKING))}"]
    for expression in inject:
        command += ["-e", f"inject={expression}"]
    os.waitpid(child, os.WUNTRACED)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        while not _traced(child) and strace.poll() is None:
            time.sleep(0.001)
        os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    return status, list(_calls(out.read_text()))


def _calls(text: str) -> Iterator[Call]:
    for found in filter(None, map(CALL.match, text.splitlines())):
        name, arguments, result = found[1], found[2], int(found[3])
        strings = [bytes.fromhex(text.replace("\\x", "")) for text in STRING.findall(arguments)]
        handle = HANDLE.match(arguments)
        at = _unhex(handle[1]) if handle else ""
        if name in ("write", "pwrite64", "read"):
            yield Call(name, (at,), strings[0] if strings else b"", arguments, result)
        elif name in ("ftruncate", "fsync", "fdatasync", "fchmod", "getdents64", "close"):
            yield Call(name, (at,), b"", arguments, result)
        else:
            yield Call(name, tuple(str(Path(at, os.fsdecode(path))) for path in strings), b"", arguments, result)


def _unhex(text: str) -> str:
    return os.fsdecode(bytes.fromhex(text.replace("\\x", ""))) if text.startswith("\\x") else text


def every_call(calls: list[Call], names: Collection[str]) -> list[tuple[str, int]]:
    """Each call as strace's `when` counts it: its name and its number among those of that name."""
    counted = Counter(call.name for call in calls if call.name in names)
    return [(name, k) for name, n in sorted(counted.items()) for k in range(1, n + 1)]


# ---- power cuts --------------------------------------------------------------------------------------------------------------


@dataclass
class Node:
    """A file or a folder: what the system shows, and what the disk holds since the last fsync."""

    now: dict[str, Node] | bytes
    safe: dict[str, Node] | bytes = b""

    def sync(self) -> None:
        self.safe = dict(self.now) if isinstance(self.now, dict) else self.now


class Disk:
    """The folder `root`, which held what `before` holds, call by call: as it is shown, and as the disk has it.

    Two disks are known: one that keeps nothing but what was synced, and one that keeps every name at once and in order
    (a journal), but of the data what was synced alone.
    """

    def __init__(self, root: Path, before: Path, forget: Collection[int] = ()) -> None:
        self.root, self.forget, self.synced = root, forget, 0
        self.tree = self._load(before, {})

    def _load(self, path: Path, seen: dict[int, Node]) -> Node:
        if path.is_dir():
            content = {entry.name: self._load(entry, seen) for entry in sorted(path.iterdir())}
            return Node(content, dict(content))
        content = path.read_bytes()
        return seen.setdefault(path.stat().st_ino, Node(content, content))  # hard links share it

    def _inside(self, path: str) -> bool:
        return Path(path).is_relative_to(self.root)

    def _find(self, path: str) -> Node:
        node = self.tree
        for part in Path(path).relative_to(self.root).parts:
            node = node.now[part]
        return node

    def _names(self, path: str) -> tuple[dict[str, Node], str]:
        return self._find(str(Path(path).parent)).now, Path(path).name

    def apply(self, call: Call) -> None:
        if call.result < 0 or not call.paths or not self._inside(call.paths[-1]):
            return
        names, name = self._names(call.paths[-1]) if call.paths[-1] != str(self.root) else ({}, "")
        match call.name:
            case "mkdir" | "mkdirat":
                names[name] = Node({}, {})
            case "openat" if "O_CREAT" in call.arguments and name not in names:
                names[name] = Node(b"")
            case "openat" if "O_TRUNC" in call.arguments:
                names[name].now = b""
            case "ftruncate":
                pass  # grown before it is written
            case "write":
                self._find(call.paths[0]).now += call.data
            case "link" | "linkat":
                names[name] = self._find(call.paths[0])
            case "rename" | "renameat" | "renameat2":
                before, old = self._names(call.paths[0])
                names[name] = before.pop(old)
            case "unlink" | "unlinkat" | "rmdir":
                del names[name]
            case "fsync" | "fdatasync":
                self._sync(self._find(call.paths[0]))
            case "pwrite64":
                raise NotImplementedError("nobody writes in the middle of a file")

    def _sync(self, node: Node) -> None:
        if self.synced not in self.forget:
            node.sync()
        self.synced += 1

    def left(self, target: Path, *, names: bool) -> Path:
        """Write what a power cut leaves now: only what was synced, or (`names`) also every name, whose data is lost."""
        self._write(self.tree, target, names)
        return target

    def _write(self, node: Node, target: Path, names: bool) -> None:
        if isinstance(node.now, bytes):
            target.write_bytes(node.safe)
            return
        target.mkdir()
        for name, child in (node.now if names else node.safe).items():
            self._write(child, target / name, names)


def after_power_cuts(
    root: Path, before: Path, calls: list[Call], scratch: Path, forget: Collection[int] = (), since: int = 0
) -> Iterator[tuple[int, Path]]:
    """For each number of calls, from `since` on, after which the power is cut: what the disk may hold.

    `before` is a copy of `root` as it was, `forget` are the numbers of fsyncs that are left out (a planted fault). The
    last number is that of all calls, when the work was reported as done.
    """
    disk = Disk(root, before, forget)
    for done in range(len(calls) + 1):
        if done:
            disk.apply(calls[done - 1])
        if done < since or (0 < done < len(calls) and calls[done - 1].name not in CHANGING):
            continue
        for names in (False, True):
            yield done, disk.left(scratch / f"{done}-{names}", names=names)
            shutil.rmtree(scratch / f"{done}-{names}")
