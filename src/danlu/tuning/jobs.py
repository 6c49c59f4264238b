"""Several trials at once, each in a process of its own with its share of the cores.

The process of the tune alone asks Optuna and notes looks and outcomes. A worker is a new interpreter that runs one
trial after another and talks over a socket in JSON; one that dies takes its trial with it, which counts as failed, and
another takes its place. It ends when the socket closes, however that came.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu import recipe as recipes
from danlu.blocks.dataset import DataSet
from danlu.core import machine
from danlu.core.artifact import Store
from danlu.core.canonical import plain
from danlu.registry.store import Registry
from danlu.tuning import trial
from danlu.tuning.space import Ask, Space
from danlu.tuning.trial import Halted, Outcome, Watcher

if TYPE_CHECKING:
    from danlu.tuning.search import Search

_START = "import sys; sys.path[:] = {path!r}; from danlu.tuning.jobs import main; main({descriptor})"
_PATIENCE = 30.0
"""Seconds that a worker has to write a checkpoint when it is told to stop."""
_PROGRESS = 0.5
SAME = 20
"""So many known candidates in a row end the search: the space is as good as used up."""


def _packed(told: Mapping[str, Any]) -> bytes:
    """As JSON, in its own order: a recipe's steps have one."""
    return json.dumps(plain(told)).encode()


@dataclass
class _Trial:
    """A candidate that a worker tries, and what else Optuna asked for meanwhile that is the same."""

    asked: Any
    what: str
    overrides: list[str]
    twins: list[Any] = field(default_factory=list)


class _Worker:
    """A process and the socket to it."""

    def __init__(self, setup: Mapping[str, Any], log: Path, threads: int) -> None:
        self.channel, theirs = Pipe()
        self.trial: _Trial | None = None
        code = _START.format(path=sys.path, descriptor=theirs.fileno())
        with theirs, log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is the tune's matter: it ends its workers
            )  # fmt: skip
        self.tell(setup)

    def tell(self, told: Mapping[str, Any]) -> None:
        with suppress(OSError):  # it died: the next that is heard of it is that
            self.channel.send_bytes(_packed(told))

    def hear(self) -> dict[str, Any] | None:
        """What it said; None where it has died."""
        try:
            said: dict[str, Any] = json.loads(self.channel.recv_bytes())
            return said
        except (EOFError, OSError):
            return None

    def how_it_ended(self) -> str:
        code = self.process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def stop(self) -> None:
        """Tell it to end; one that trains writes a checkpoint first."""
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Wait for its end, which `stop` began."""
        try:
            self.process.wait(_PATIENCE if self.trial else 1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.channel.close()


class Jobs:
    """The candidates of a search, `count` at once."""

    def __init__(self, search: Search, data: Path, folder: Path, count: int) -> None:
        self.search, self.count, self.log = search, count, folder / "workers.log"
        ask = search.here.ask
        self.setup = {
            "given": ask.given(), "path": str(ask.recipe.path or ""), "store": str(search.store.path),
            "imports": [str(Path(path).absolute()) for path in ask.imports], "data_set": str(data),
            "step": search.here.step, "data": search.here.data,
        }  # fmt: skip
        self.workers: list[_Worker] = []
        self.same = 0

    def candidates(self, most: int | None) -> None:
        """As `Search.candidates`: until the time is up, `most` trials are known, or nothing new is found."""
        try:
            while True:
                while len(self.busy) < self.count and self._more(most):
                    self._begin()
                if not self.busy:
                    return
                for channel in wait([worker.channel for worker in self.busy], timeout=1.0):
                    self._hear(next(worker for worker in self.workers if worker.channel is channel))
        finally:
            for worker in self.workers:
                worker.stop()
            for worker in self.workers:
                worker.close()

    @property
    def busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.trial]

    def _more(self, most: int | None) -> bool:
        return self.same < SAME and self.search.goes_on(most, under_way=len(self.busy))

    def _begin(self) -> None:
        """Give the next candidate to a worker, unless what becomes of it is known or on its way."""
        search = self.search
        asked, params = search.kept.ask()
        overrides = search.here.overrides(params, search.rows)
        twin = next((w.trial for w in self.busy if w.trial and w.trial.overrides == overrides), None)
        known = search.kept.known(overrides)
        self.same = self.same + 1 if twin or known else 0
        if twin:
            twin.twins.append(asked)
        elif known:
            search.keep(asked, known)
        else:
            worker = next((worker for worker in self.workers if not worker.trial), None) or self._start()
            worker.trial = _Trial(asked, search.here.words(params), overrides)
            worker.tell({"overrides": overrides, "left": search.clock.left()})

    def _start(self) -> _Worker:
        self.workers.append(_Worker(self.setup, self.log, max(1, machine.cpu_threads() // self.count)))
        return self.workers[-1]

    def _hear(self, worker: _Worker) -> None:
        one, said, search = worker.trial, worker.hear(), self.search
        assert one is not None
        if said is None:
            self.workers.remove(worker)
            worker.channel.close()
            note = f"its process {worker.how_it_ended()}; what it said is in {self.log}"
            self._ended(one, {"state": "failed", "note": note})
        elif "look" in said:
            worker.tell({"go": search.kept.look(one.asked, *said["look"])})
        elif "steps" in said:
            search.progress(one.what, *said["steps"])
        else:
            worker.trial = None
            if "halted" in said:
                search.halted(one.what, said["halted"])
            else:
                self._ended(one, said["outcome"])

    def _ended(self, one: _Trial, made: Mapping[str, Any]) -> None:
        search = self.search
        search.kept.spend(search.clock.spent)
        outcome = Outcome(search.number(), "trial", one.what, tuple(one.overrides), **made)
        search.tell(outcome)
        for asked in (one.asked, *one.twins):
            search.keep(asked, outcome)
        self.same = 0


# ---- in the worker ---------------------------------------------------------------------------------------------------


def main(descriptor: int) -> None:
    """Run the trials that come over a socket, until it closes."""
    machine.tune_threads_env()
    channel: Any = Connection(descriptor)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        setup = json.loads(channel.recv_bytes())
        here, store = _space(setup), Store(setup["store"])
        judge = trial.judge_of(here, DataSet.open(Path(setup["data_set"])))
        while True:
            order = json.loads(channel.recv_bytes())
            channel.send_bytes(_packed(_tried(here, store, judge, order, channel)))


def _space(setup: Mapping[str, Any]) -> Space:
    """The recipe as the tune has it, with nothing to suggest: candidates come from there."""
    imports, path = tuple(setup["imports"]), Path(setup["path"]) if setup["path"] else None
    versions = Registry(Path(setup["store"])).published
    base = path.absolute().parent if path else Path.cwd()
    recipe = replace(recipes.load(setup["given"], (), imports, versions, base), path=path)
    return Space(Ask(recipe, imports, versions), setup["step"], setup["data"], {}, (), {}, ())


def _tried(here: Space, store: Store, judge: trial.Judge, order: Mapping[str, Any], channel: Any) -> dict[str, Any]:
    ends, told = time.monotonic() + order["left"], [0.0]

    def look(number: int, value: float) -> bool:
        with _as_ctrl_c():
            channel.send_bytes(_packed({"look": [number, value]}))
            return bool(json.loads(channel.recv_bytes())["go"])

    def progress(done: float, total: float) -> None:
        if time.monotonic() - told[0] > _PROGRESS:
            with _as_ctrl_c():
                channel.send_bytes(_packed({"steps": [done, total]}))
            told[0] = time.monotonic()

    watcher = Watcher(here.step, lambda: ends - time.monotonic(), look, progress)
    try:
        return {"outcome": trial.run(here.plan(order["overrides"]), store, judge, watcher)}
    except Halted as halted:
        return {"halted": halted.seconds}


@contextmanager
def _as_ctrl_c() -> Iterator[None]:
    """A tune that is gone ends the trial as Ctrl-C does: a listener's other errors do not end a run."""
    try:
        yield
    except (EOFError, OSError):
        raise KeyboardInterrupt from None
