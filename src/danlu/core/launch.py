"""Starting one command in several processes on this machine, and where a process finds the others.

The environment is torchrun's: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT. So `danlu run` is a rank of
torchrun as it is.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO

from danlu.core import machine
from danlu.core.errors import MachineError, RecipeError

TIMEOUT = 600.0
"""Seconds that ranks wait for one that does not come."""
RESTARTS = 1
"""How often ranks are started again after one was killed."""
_GRACE = 8.0
"""Seconds in which the others end by themselves after one rank has ended badly."""
SHARD_ENV = "DANLU_SHARD"
"""Where `danlu run --shard` tells it to this process, and to those it starts."""
_TIMEOUT_ENV, _LAUNCHER_ENV = "DANLU_RANK_TIMEOUT", "DANLU_LAUNCHER"


@dataclass(frozen=True)
class Place:
    """Which rank of how many a process is, and where they meet; `timeout` in seconds."""

    rank: int
    world: int
    local: int
    host: str
    port: int
    timeout: float = TIMEOUT
    launcher: int = 0
    """The process that started this one, when it was `start`."""
    store_elsewhere: bool = False
    """Whether torchrun holds the store at the address, not rank 0."""
    sharded: bool = False
    """Whether each rank holds a share of the weights alone."""
    attempt: int = 0
    """How often torchrun has started the ranks again; its store still holds the notes of those before."""

    @classmethod
    def here(cls, env: Mapping[str, str] = os.environ) -> Place | None:
        """The place of this process; None when it is alone. Raises RecipeError for an environment that is not whole."""
        try:
            world = int(env.get("WORLD_SIZE", "1"))
            if world < 2:
                return None
            return cls(
                int(env["RANK"]),
                world,
                int(env.get("LOCAL_RANK", env["RANK"])),
                env["MASTER_ADDR"],
                int(env["MASTER_PORT"]),
                float(env.get(_TIMEOUT_ENV, TIMEOUT)),
                int(env.get(_LAUNCHER_ENV, "0")),
                env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
                bool(env.get(SHARD_ENV)),
                int(env.get("TORCHELASTIC_RESTART_COUNT", "0")),
            )
        except (KeyError, ValueError) as fault:
            what = f"WORLD_SIZE says that this is one of several ranks, and {fault} is wrong or missing"
            do = "start it with torchrun or with --nproc, or unset WORLD_SIZE"
            raise RecipeError(what, where="environment", do=do) from fault


class _KilledError(MachineError):
    """A rank was killed from outside, so what it did may well go right another time."""


def start(arguments: Sequence[str], ranks: int, timeout: float | None = None, restarts: int = RESTARTS) -> int:
    """Run `danlu` with these arguments as so many ranks; returns the exit code of rank 0, whose output is shown.

    After a rank was killed all are started again, at most `restarts` times: trainings go on from their last checkpoint.
    Raises MachineError naming a rank that died, failed or hangs where rank 0 could not tell it. No rank is left over.
    """
    for left in reversed(range(restarts + 1)):
        try:
            return _once(arguments, ranks, timeout, restarting=left > 0)
        except _KilledError as fault:
            if not left:
                raise
            sys.stderr.write(f"! {fault.what}; all ranks start again, and trainings go on from their last checkpoint\n")
    raise AssertionError("the last attempt returns or raises")


def _once(arguments: Sequence[str], ranks: int, timeout: float | None, *, restarting: bool) -> int:
    with ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(ranks)]
        env = environment(ranks, timeout)
        command = [sys.executable, "-m", "danlu.cli.main", *arguments]
        started: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, started)
        for rank, error in enumerate(errors):
            hidden = {"stdout": subprocess.DEVNULL, "stderr": error} if rank else {}
            own = env | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            started.append(subprocess.Popen(command, env=own, start_new_session=True, **hidden))  # type: ignore[call-overload]
        with _forwarded(started) as signals:
            return _watched(started, errors, signals, restarting=restarting)


def environment(ranks: int, timeout: float | None) -> dict[str, str]:
    """The environment of so many ranks of this machine, without RANK: a free port, and each its share of threads."""
    threads = max(1, machine.cpu_threads() // ranks)
    with suppress(ValueError):
        threads = min(threads, int(os.environ.get("OMP_NUM_THREADS", threads)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return dict(os.environ) | {
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(threads),
        _LAUNCHER_ENV: str(os.getpid()),
        _TIMEOUT_ENV: str(timeout or TIMEOUT),
    }


def _watched(
    started: Sequence[subprocess.Popen[bytes]], errors: Sequence[IO[bytes]], signals: list[int], *, restarting: bool
) -> int:
    """Wait until rank 0 ends; when another ends badly before, rank 0 has some seconds to say so itself.

    It has none where it was killed and all are `restarting`: the next attempt has the word.
    """
    while True:
        codes = [process.poll() for process in started]
        ended = {rank: code for rank, code in enumerate(codes) if code is not None}
        killed = next((rank for rank, code in ended.items() if code < 0), None)
        if killed is not None and restarting and not signals:
            raise _told(killed, ended[killed], errors[killed])
        bad = next((rank for rank, code in ended.items() if code), None)
        if bad is None and 0 not in ended:
            time.sleep(0.05)
            continue
        if bad:
            with suppress(subprocess.TimeoutExpired):
                started[0].wait(None if signals else _GRACE)  # a signal asked it to save first
        first = started[0].poll()
        if first is not None and first >= 0:
            return first
        rank = bad or 0
        raise _told(rank, started[rank].returncode, errors[rank])


def _told(rank: int, code: int, said: IO[bytes]) -> MachineError:
    do = "run again: the training goes on from its last checkpoint"
    if code < 0:
        return _KilledError(f"rank {rank} was killed by {signal.Signals(-code).name}", where="ranks", do=do)
    said.seek(0)
    text = said.read().decode("utf-8", "replace").strip()
    return MachineError(f"rank {rank} ended with exit code {code}: {text[-2000:]}", where="ranks", do=do)


@contextmanager
def _forwarded(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Ctrl-C and a polite kill go to all ranks, which save and end; the list holds those that came."""
    came: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for process in started:
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Rank 0 has ended: the others have no more to do than to hear it."""
    until = time.monotonic() + 2.0
    for process in started:
        try:
            process.wait(max(0.0, until - time.monotonic()) if started[0].poll() is not None else 0.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
