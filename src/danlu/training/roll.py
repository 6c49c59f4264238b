"""Who of the ranks is where: each notes its meetings in a store that rank 0 (or torchrun) holds, so that a rank which
died, failed or hangs can be named by those that wait for it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from datetime import timedelta
from typing import Any

import psutil
from torch import distributed as dist

from danlu.core.errors import DanluError, MachineError
from danlu.core.launch import Place

_PATIENCE = 2.0
"""Seconds in which a rank that broke a connection is found to be dead, or tells why it ended."""
_LONG = timedelta(days=365)


class Roll:
    """The notes of one rank, and its look at those of the others."""

    def __init__(self, place: Place) -> None:
        self._rank, self._world, self._seconds = place.rank, place.world, place.timeout
        self._meetings, self._calls = 0, 0
        wait = timedelta(seconds=place.timeout)
        holds = place.rank == 0 and not place.store_elsewhere
        try:
            held = dist.TCPStore(  # type: ignore[attr-defined]
                place.host, place.port, is_master=holds, timeout=wait, wait_for_workers=False
            )
            self.store = dist.PrefixStore(f"attempt/{place.attempt}", held)  # type: ignore[attr-defined]
        except RuntimeError as fault:
            what = f"rank {self._rank} does not reach the others at {place.host}:{place.port}"
            raise MachineError(what, where="ranks", do="a free port, and an address that all ranks reach") from fault
        self.store.set(f"who/{self._rank}", json.dumps([socket.gethostname(), os.getpid()]))
        if place.launcher:
            threading.Thread(target=_end_with, args=(place.launcher,), daemon=True).start()

    def arrive(self) -> None:
        """This rank comes to its next meeting."""
        self._meetings += 1
        try:
            self.store.set(f"at/{self._rank}", str(self._meetings))
        except RuntimeError as fault:
            raise self.missed(fault) from fault

    def call(self, task: dict[str, Any]) -> None:
        """Say what all ranks do next, JSON values."""
        self.store.set(f"call/{self._calls}", json.dumps(task))
        self._calls += 1

    def hear(self, number: int) -> dict[str, Any] | None:
        """What rank 0 called for so many calls after the first; None when it is done.

        Raises MachineError when it failed or died.
        """
        try:
            self.store.wait([f"call/{number}"], _LONG)
            task: dict[str, Any] = json.loads(self.store.get(f"call/{number}"))
        except RuntimeError as fault:
            raise _lost(0, "has died") from fault
        if "fault" in task:
            raise _lost(0, f"failed: {task['fault']}")
        return None if task.get("done") else task

    def leave(self, fault: BaseException | None) -> None:
        """Say how this rank ended."""
        said = None if fault is None else str(fault) or type(fault).__name__
        if said:
            self.store.set(f"fault/{self._rank}", said)
        if self._rank == 0:
            self.call({"fault": said} if said else {"done": True})
            self._wait_for_goodbyes()
        else:
            self.store.set(f"gone/{self._rank}", "")

    def _wait_for_goodbyes(self) -> None:
        """The store goes with rank 0, so it stays until the others have heard how it ended."""
        until = time.monotonic() + _PATIENCE
        others = [f"gone/{rank}" for rank in range(1, self._world)]
        while time.monotonic() < until and not self.store.check(others):
            time.sleep(0.01)

    def missed(self, fault: BaseException) -> DanluError:
        """The error that names who did not come to a meeting, or why the meeting failed."""
        self.store.set_timeout(timedelta(seconds=_PATIENCE))
        until = time.monotonic() + _PATIENCE
        try:
            while True:
                for rank in (rank for rank in range(self._world) if rank != self._rank):
                    if self.store.check([f"fault/{rank}"]):
                        return _lost(rank, f"failed: {self.store.get(f'fault/{rank}').decode()}")
                    if self._dead(rank):
                        return _lost(rank, "has died")
                if time.monotonic() > until:
                    break
                time.sleep(0.05)
            behind = [rank for rank in range(self._world) if self._at(rank) < self._meetings]
        except RuntimeError:
            return _lost(0, "has died or hangs: it does not answer")
        if behind:
            return _lost(behind[0], f"hangs: the others waited {self._seconds:g} s for it")
        return MachineError(f"the connection of the ranks broke: {fault}", where="ranks", do="run again")

    def _at(self, rank: int) -> int:
        return int(self.store.get(f"at/{rank}")) if self.store.check([f"at/{rank}"]) else 0

    def _dead(self, rank: int) -> bool:
        """Whether a process of this machine is known to be no more."""
        if not self.store.check([f"who/{rank}"]):
            return False
        host, pid = json.loads(self.store.get(f"who/{rank}"))
        if host != socket.gethostname():
            return False
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True


def _lost(rank: int, how: str) -> MachineError:
    do = "run again: the training goes on from its last checkpoint"
    return MachineError(f"rank {rank} {how}", where="ranks", do=do)


def _end_with(launcher: int) -> None:
    """End this process when the one that started it is gone, which can then no longer end it."""
    while os.getppid() == launcher:
        time.sleep(1.0)
    os._exit(4)
