"""Many callers, one model: what they ask waits in one bounded queue, and a few threads answer it in shared batches.

Nothing waits for company: while the model runs, what comes meanwhile gathers, and the next batch takes it. A batch is
the input that waited longest with those most like it in length, so little is padded. Every job ends exactly once, and a
caller who has left is not computed for.

Each thread owns rounds of its own. Several threads with one core each answer more small inputs than one with them all:
most operations of a small model are too short to be shared.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from danlu.contracts import Answer, Delta
from danlu.core.errors import MachineError
from danlu.predictor import Event, Predictor

_log = logging.getLogger(__name__)
_WINDOW = 4
"""From how many batches' worth of the longest waiting inputs a batch is chosen: enough to find like lengths."""


class FullError(Exception):
    """The queue has no room; `seconds` is how long what waits in it will take."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the queue is full for about {seconds:.1f} s")
        self.seconds = seconds


class ClosedError(Exception):
    """The batcher takes no more jobs."""


@dataclass(slots=True, eq=False)
class Job:
    """The inputs of one request, and the future of their answers, each an answer or the exception in its place."""

    future: asyncio.Future[list[Answer | Exception]]
    answers: list[Any]
    missing: int
    gone: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, place: int, answer: Any) -> None:
        """Note one answer; the last one completes the future, in its own loop. Several workers may share a job."""
        with self.lock:
            self.answers[place] = answer
            self.missing -= 1
            last = not self.missing
        if last and not self.gone:
            try:
                self.future.get_loop().call_soon_threadsafe(self._complete)
            except RuntimeError:  # the loop is closed, and whoever waited there is gone with it
                self.gone = True

    def _complete(self) -> None:
        if not self.future.done():
            self.future.set_result(self.answers)


@dataclass(slots=True, order=True)
class _Item:
    """One input that waits. Ordered by its turn: the inputs of a long job let those of later, shorter jobs between."""

    turn: int
    number: int
    length: int = field(compare=False)
    value: Any = field(compare=False)
    job: Job = field(compare=False)
    place: int = field(compare=False)


class Batcher:
    """Answers jobs from any event loop with one predictor, in threads of its own that nothing can end but `close`.

    `room` is how many inputs may wait, `workers` how many batches may run at once. `ran(inputs, seconds)` is told of
    every batch.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        room: int = 1024,
        workers: int = 1,
        ran: Callable[[int, float], object] | None = None,
    ) -> None:
        self.predictor, self.room, self.ran = predictor, room, ran or (lambda inputs, seconds: None)
        self._queue: list[_Item] = []
        self._numbers, self._turn, self._idle = itertools.count(), 0, 0
        self._changed = threading.Condition()
        self._closed = False
        self._pace = 0.05  # seconds an input, a running mean
        self._workers = [_Worker(self) for _ in range(workers)]
        for worker in self._workers:
            worker.start()

    # ---- the callers' side

    def submit(self, values: Sequence[Any]) -> Job:
        """Queue JSON values; must be called in the event loop that waits for the job.

        Raises FullError when they find no room, ClosedError after `close`.
        """
        job = Job(asyncio.get_running_loop().create_future(), [None] * len(values), len(values))
        with self._changed:
            if self._closed:
                raise ClosedError
            if len(self._queue) + len(values) > self.room:
                raise FullError(len(self._queue) * self._pace)
            for place, value in enumerate(values):
                item = _Item(self._turn + place, next(self._numbers), _length(value), value, job, place)
                bisect.insort(self._queue, item)
            self._changed.notify(len(values))
        return job

    def cancel(self, job: Job) -> None:
        """The caller has left: nothing more is computed for the job. Does nothing to a job that is over."""
        with self._changed:
            job.gone = True
            if job.missing:
                self._queue = [item for item in self._queue if item.job is not job]
        job.future.cancel()

    @property
    def waiting(self) -> int:
        """How many inputs wait."""
        return len(self._queue)

    @property
    def running(self) -> float:
        """For how many seconds the oldest of the batches that run now has been running; 0 when none does."""
        began = [worker.began for worker in self._workers if worker.began is not None]
        return time.monotonic() - min(began) if began else 0.0

    def close(self, timeout: float | None = None) -> None:
        """Take no more jobs, answer those that were taken, end the threads; waits for that `timeout` seconds each."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(timeout)

    # ---- the workers' side

    def wait(self) -> None:
        """Until there is something to do, or never again will be."""
        with self._changed:
            self._idle += 1
            try:
                self._changed.wait_for(lambda: self._queue or self._closed)
            finally:
                self._idle -= 1

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self._closed and not self._queue

    def take(self, most: int) -> list[_Item]:
        """The input that waited longest and those like it, as many as are this worker's share, at most `most`."""
        with self._changed:
            most = min(most, math.ceil(len(self._queue) / (1 + self._idle)))
            if most < 1:
                return []
            first = self._queue[0]
            self._turn = max(self._turn, first.turn)
            window = self._queue[: _WINDOW * self.predictor.batch_size]
            chosen = sorted(window, key=lambda item: (abs(item.length - first.length), item.turn))[:most]
            numbers = {item.number for item in chosen}
            self._queue = [item for item in self._queue if item.number not in numbers]
            return chosen

    def take_all(self) -> list[_Item]:
        """Everything that waits."""
        with self._changed:
            taken, self._queue = self._queue, []
            return taken

    def note(self, inputs: int, seconds: float) -> None:
        """A batch was run."""
        self._pace += 0.1 * (seconds / inputs / len(self._workers) - self._pace)
        self.ran(inputs, seconds)


class _Worker(threading.Thread):
    """A thread that owns rounds, and takes what waits into them."""

    def __init__(self, batcher: Batcher) -> None:
        super().__init__(name="danlu-batcher", daemon=True)
        self._batcher, self._rounds = batcher, batcher.predictor.rounds()
        self._talks: dict[int, _Item] = {}
        self._took = False
        self.began: float | None = None

    def run(self) -> None:
        """Work until the batcher is closed and empty. Whatever is raised fails what it touched, and work goes on."""
        while self._talks or not self._batcher.over:
            try:
                if not self._talks:
                    self._batcher.wait()
                self._step()
            except BaseException as fault:  # noqa: BLE001 - nobody may wait for ever, whatever went wrong
                _log.exception("a batch failed as a whole")
                self._fail(fault)

    def _step(self) -> None:
        """Let the waiting in, as far as the batch has room, and ask the model once for all."""
        began, self._took = time.monotonic(), False
        self.began = began
        items = self._batcher.take(self._batcher.predictor.batch_size - len(self._talks))
        self._took = bool(items)
        for item in items:
            self._join(item)
        for ticket in [ticket for ticket, item in self._talks.items() if item.job.gone]:
            del self._talks[ticket]
            self._rounds.leave(ticket)
        asked = len(self._talks)
        if asked:
            for ticket, event in self._rounds.round():
                self._hear(ticket, event)
            self._batcher.note(asked, time.monotonic() - began)
        self.began = None

    def _join(self, item: _Item) -> None:
        try:
            ticket, events = self._rounds.join(self._batcher.predictor.task.from_json(item.value))
        except BaseException as fault:  # noqa: BLE001 - a task may raise anything; it is this input's own affair
            item.job.settle(item.place, _plain(fault))
            return
        self._talks[ticket] = item
        for event in events:
            self._hear(ticket, event)

    def _hear(self, ticket: int, event: Event) -> None:
        if not isinstance(event, Delta) and (item := self._talks.pop(ticket, None)):
            item.job.settle(item.place, event[1])

    def _fail(self, fault: BaseException) -> None:
        """Fail the talks of this worker; where it could not even take any, fail all that waits."""
        talks, self._talks, self.began = self._talks, {}, None
        waiting = [] if talks or self._took else self._batcher.take_all()
        for ticket in talks:
            self._rounds.leave(ticket)
        for item in (*talks.values(), *waiting):
            item.job.settle(item.place, _plain(fault))


def _plain(fault: BaseException) -> Exception:
    """What a caller is told: never an exception that would end a thread or a loop."""
    return fault if isinstance(fault, Exception) else MachineError(f"the batch was ended ({type(fault).__name__})")


def _length(value: Any) -> int:
    """How long an input is, roughly: only to put like to like."""
    return len(value) if isinstance(value, str | list | tuple) else 0


def retry_after(fault: FullError) -> int:
    """Whole seconds for the header `Retry-After`, at least 1."""
    return min(60, max(1, math.ceil(fault.seconds)))
