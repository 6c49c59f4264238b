"""The one road that numbers travel: a step says what happens, listeners (console, JSON lines, TensorBoard) hear it.

A listener is any callable that takes an `Event`, such as a tracker's `on`. It is called from one thread at a time, in
order. One that fails is reported once and dropped: what listens never stops what runs.

Kinds: `run_started step_started step_reused progress numbers note warning step_done step_failed run_done`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from danlu.core.canonical import to_json

_PROGRESS_EVERY = 0.1  # seconds: enough for an eye, and nothing beside a training step


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: when (seconds since 1970), in which step (empty: the run itself), and what."""

    at: float
    step: str
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


Listener: TypeAlias = Callable[[Event], None]


class _Road:
    """What all `Events` of one run share: the listeners, and when progress was last told."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self.listeners = list(listeners)
        self.lock = threading.RLock()
        self.told: dict[tuple[str, str], float] = {}

    def send(self, event: Event) -> None:
        with self.lock:
            for listener in tuple(self.listeners):
                try:
                    listener(event)
                except Exception as fault:  # noqa: BLE001 - a listener may raise anything
                    self._drop(listener, fault)

    def _drop(self, listener: Listener, fault: Exception) -> None:
        if listener not in self.listeners:
            return
        self.listeners.remove(listener)
        name = getattr(listener, "__qualname__", type(listener).__name__)
        text = f"the tracker {name} failed and is heard no more: {type(fault).__name__}: {fault}"
        if self.listeners:
            self.send(Event(time.time(), "", "warning", {"text": text}))
        else:
            logging.getLogger(__name__).warning(text)


class Events:
    """Says what happens in a run, or in one step of it. May be used from several threads."""

    def __init__(self, listeners: Iterable[Listener] = (), step: str = "") -> None:
        self._road, self.step = _Road(listeners), step

    @classmethod
    def silent(cls) -> Events:
        """Events that nobody hears."""
        return cls()

    def step_events(self, name: str) -> Events:
        """The same road, on which everything is said of the step `name`."""
        events = Events(step=name)
        events._road = self._road
        return events

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """One more listener, while the block runs."""
        with self._road.lock:
            self._road.listeners.append(listener)
        try:
            yield
        finally:
            with self._road.lock:
                if listener in self._road.listeners:
                    self._road.listeners.remove(listener)

    def emit(self, kind: str, /, **data: Any) -> None:
        """Say that something of this kind happened."""
        self._road.send(Event(time.time(), self.step, kind, data))

    def progress(self, what: str, done: float, total: float | None, unit: str = "", **numbers: Any) -> None:
        """How far something has come; at most ten times a second, the first and the last always.

        `total` is None where the end is not known. Speed and time left are the listeners' business.
        """
        now, place = time.monotonic(), (self.step, what)
        last = total is not None and done >= total
        with self._road.lock:
            if not last and now - self._road.told.get(place, -math.inf) < _PROGRESS_EVERY:
                return
            self._road.told[place] = now
        self.emit("progress", what=what, done=done, total=total, unit=unit, **numbers)

    def note(self, text: str) -> None:
        """Something worth knowing, in a sentence."""
        self.emit("note", text=text)

    def warn(self, text: str) -> None:
        """Something that may spoil the result, in a sentence."""
        self.emit("warning", text=text)

    def numbers(self, **values: Any) -> None:
        """Numbers of one moment, such as `step=120, loss=0.31`."""
        self.emit("numbers", **values)


class EventLog:
    """A listener that appends every event to a file, one JSON object a line, flushed at once.

    Each line is one write, so a kill leaves whole lines and at most one broken at the end. Raises OSError when the disk
    refuses.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def on(self, event: Event) -> None:
        self._file.write(to_json(asdict(event)) + b"\n")

    def close(self) -> None:
        self._file.close()
