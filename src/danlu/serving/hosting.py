"""The versions that answer: one at a time for each served model, swapped while requests go on.

A new version is loaded beside the one that answers and must give the answers that were stored when it was published.
Only then it takes over, in one assignment: requests under way end where they began. The version before stays loaded, so
that going back takes no time. A version that fails never answers anybody.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from danlu.core.errors import DanluError, GateError, MachineError
from danlu.predictor import Predictor
from danlu.serving.batcher import Batcher, ClosedError, Job
from danlu.serving.metrics import Metrics
from danlu.serving.wire import Limits

_log = logging.getLogger(__name__)

_LEAST_TOLERANCE = 1e-3
"""Two machines round differently; a version may be served on another one than it was published on."""
_RETRY_SECONDS = 30.0


@dataclass(frozen=True)
class Loaded:
    """A version that was loaded: what it is called, and how it can show that it is what was published.

    `sample` are inputs and the answers they had when it was published, as JSON: `{"input", "answer"}`. `tolerance` is
    the greatest `Task.distance` between those and its answers now. `workers` is how many batches it may run at once.
    """

    reference: str
    number: int
    form: str
    predictor: Predictor
    sample: Sequence[Mapping[str, Any]] = ()
    tolerance: float = 0.0
    workers: int = 1


class Source(Protocol):
    """Where the versions of one model come from; whoever knows the registry hands it in. Called from other threads."""

    @property
    def name(self) -> str: ...

    @property
    def alias(self) -> str:
        """The alias that is followed; empty where one version was asked for."""

    def wanted(self) -> int:
        """The number of the version that should answer now. Asked several times a second."""

    def load(self, number: int) -> Loaded:
        """A version, every byte of it checked."""


def self_test(loaded: Loaded, most_seconds: float = math.inf) -> None:
    """Raise GateError unless a version gives the answers that were stored when it was published, within some seconds.

    One without stored answers must answer its task's own sample, in plain JSON.
    """
    task = loaded.predictor.task
    sample = loaded.sample or [{"input": task.to_json(task.ask(row))} for row in task.sample(2)]
    began = time.monotonic()
    answers = loaded.predictor([task.from_json(one["input"]) for one in sample])
    if (seconds := time.monotonic() - began) > most_seconds:
        raise _unlike(loaded, 0, f"its answer took {seconds:.1f} s, {most_seconds:g} are allowed")
    for place, (one, answer) in enumerate(zip(sample, answers, strict=True)):
        try:
            told = json.loads(json.dumps(answer, allow_nan=False))
        except (TypeError, ValueError) as fault:
            raise _unlike(loaded, place, f"its answer is not plain JSON: {fault}") from fault
        if "answer" in one:
            distance = task.distance(one["answer"], told)
            if not distance <= max(loaded.tolerance, _LEAST_TOLERANCE):
                raise _unlike(loaded, place, f"its answer lies {distance:.3g} from the one that was published")


def _unlike(loaded: Loaded, place: int, what: str) -> GateError:
    return GateError(what, where=f"{loaded.reference}, stored sample {place}", do="publish it anew")


def _why(fault: Exception | None) -> str:
    return fault.what if isinstance(fault, DanluError) else f"loading it failed ({type(fault).__name__})"


class Serving:
    """A version that answers, with the thread that does it."""

    def __init__(self, loaded: Loaded, limits: Limits, ran: Callable[[int, float], None]) -> None:
        self.loaded, self.since = loaded, datetime.now(UTC).isoformat(timespec="milliseconds")
        self.batcher = Batcher(loaded.predictor, room=limits.waiting, workers=loaded.workers, ran=ran)


@dataclass(eq=False)
class _Attempt:
    """A version being loaded in a thread of its own, since what hangs there cannot be stopped."""

    number: int
    began: float
    loaded: Loaded | None = None
    fault: Exception | None = None
    over: bool = False
    thread: threading.Thread = field(init=False)

    def start(self, source: Source, most_seconds: float, done: Callable[[], None]) -> None:
        def run() -> None:
            try:
                loaded = source.load(self.number)
                self_test(loaded, most_seconds)
                self.loaded = loaded
            except BaseException as fault:  # noqa: BLE001 - a stranger's plug-in may raise anything
                _log.debug("loading failed", exc_info=True)
                self.fault = fault if isinstance(fault, Exception) else MachineError(f"{type(fault).__name__}")
            finally:
                self.over = True
                done()

        self.thread = threading.Thread(target=run, name=f"danlu-load-{self.number}", daemon=True)
        self.thread.start()


@dataclass(frozen=True)
class Failure:
    """A version that was wanted and does not answer: which, why, and since when (UTC; `at` is monotonic seconds)."""

    number: int
    why: str
    since: str
    at: float


class Model:
    """One served model. Making it loads the version that is wanted, and raises what is wrong with that."""

    def __init__(self, source: Source, limits: Limits, metrics: Metrics) -> None:
        self.source, self.name, self._limits, self._metrics = source, source.name, limits, metrics
        loaded = source.load(source.wanted())
        self_test(loaded)
        self.current = self._serve(loaded)
        self.previous: Serving | None = None
        self.failure: Failure | None = None
        self._attempt: _Attempt | None = None
        metrics.host(self.name, lambda: self.current.batcher.waiting)
        self._tell()

    def _serve(self, loaded: Loaded) -> Serving:
        return Serving(loaded, self._limits, lambda inputs, seconds: self._metrics.batch(self.name, inputs, seconds))

    def submit(self, values: Sequence[Any]) -> tuple[Serving, Job]:
        """Queue values with the version that answers now. Raises FullError."""
        while True:
            serving = self.current
            try:
                return serving, serving.batcher.submit(values)
            except ClosedError:
                if serving is self.current:
                    raise

    def told(self) -> dict[str, Any]:
        """What `/v1/models` says of it."""
        loaded, failure = self.current.loaded, self.failure
        told: dict[str, Any] = {
            "name": self.name,
            "version": loaded.reference,
            "alias": self.source.alias or None,
            "task": loaded.predictor.task.name,
            "form": loaded.form,
            "since": self.current.since,
            "error": None,
        }
        if failure:
            told["error"] = {"version": f"{self.name}@{failure.number}", "what": failure.why, "since": failure.since}
        return told

    def follow(self, done: Callable[[], None] = lambda: None) -> None:
        """One look at what is wanted: begin to load it, let it take over, or give it up. `done` ends the wait."""
        try:
            wanted = self.source.wanted()
        except DanluError as fault:
            self._fail(self.current.loaded.number, f"what should be served cannot be found out: {fault.what}")
            return
        attempt, now = self._attempt, time.monotonic()
        if wanted == self.current.loaded.number:
            self._attempt = self.failure = None
        elif self.previous and wanted == self.previous.loaded.number:
            self._swap(self.previous)
        elif attempt is None or attempt.number != wanted:
            if self.failure is None or self.failure.number != wanted or now - self.failure.at > _RETRY_SECONDS:
                self._attempt = _Attempt(wanted, now)
                self._attempt.start(self.source, self._limits.answer_seconds, done)
        elif attempt.loaded:
            self._swap(self._serve(attempt.loaded))
        elif attempt.over:
            self._fail(wanted, _why(attempt.fault))
        elif now - attempt.began > self._limits.load_seconds:
            self._fail(wanted, f"it was not ready within {self._limits.load_seconds:g} s")

    def _swap(self, serving: Serving) -> None:
        before, dropped = self.current, self.previous
        serving.since = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.current, self.previous = serving, before
        self._attempt = self.failure = None
        self._metrics.swaps.labels(self.name, "done").inc()
        self._tell()
        _log.info("%s answers now, before it %s", serving.loaded.reference, before.loaded.reference)
        if dropped and dropped is not serving:
            threading.Thread(target=dropped.batcher.close, name="danlu-close", daemon=True).start()

    def _fail(self, number: int, why: str) -> None:
        known, self._attempt = self.failure, None
        since = datetime.now(UTC).isoformat(timespec="milliseconds")
        if known and (known.number, known.why) == (number, why):
            since = known.since
        else:
            self._metrics.swaps.labels(self.name, "failed").inc()
            _log.error("%s@%d does not answer, %s goes on: %s", self.name, number, self.current.loaded.reference, why)
        self.failure = Failure(number, why, since, time.monotonic())

    def _tell(self) -> None:
        told = self.told()
        self._metrics.version(*(told[key] or "" for key in ("name", "version", "alias", "task", "form")))

    def close(self, timeout: float) -> None:
        """End the threads; what is queued is answered, as far as `timeout` seconds allow."""
        for serving in filter(None, (self.current, self.previous)):
            serving.batcher.close(timeout)


class Watcher:
    """Looks at the aliases of some models several times a second, from a thread of its own."""

    def __init__(self, models: Sequence[Model], seconds: float = 0.25) -> None:
        self._models, self._seconds = [model for model in models if model.source.alias], seconds
        self._wake, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._watch, name="danlu-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the look that is going on."""
        self._ended = True
        self._wake.set()
        self._thread.join(5)

    def _watch(self) -> None:
        while not self._ended:
            for model in self._models:
                try:
                    model.follow(self._wake.set)
                except Exception:  # noqa: BLE001 - the watcher outlives whatever it meets
                    _log.exception("watching %s failed", model.name)
            self._wake.wait(self._seconds)
            self._wake.clear()
