"""The one way to get an answer: many talks, one model.

An answer is a talk (`Task.answer`): a generator that yields examples and is sent their outputs. `Rounds` holds all
talks that are going on and runs the model for them together, so the windows of one document share batches with other
callers' texts, and a generation is batched anew at every token, without the task knowing.

Only numpy is used here; the form decides what runs the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import operator
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from danlu.contracts import Answer, Arrays, Batch, Delta, Example, Form, Processor, Task
from danlu.core.errors import DanluError, DataError, MachineError, RecipeError

Event: TypeAlias = Delta | tuple[Literal["answer", "fault"], Any]
"""A piece of a streamed answer, `("answer", answer)` or `("fault", exception)`; the last two end a talk."""

_AT_ONCE = 64
"""How many batches' worth of inputs `Predictor` joins at a time: enough to sort by length, little enough to keep."""
_TICKET = operator.itemgetter(0)


class Predictor:
    """Answers inputs with a form of a model. It may be used from several threads at once."""

    def __init__(self, form: Form, task: Task, processor: Processor, batch_size: int = 32) -> None:
        if batch_size < 1:
            raise RecipeError(f"a batch holds at least one example, not {batch_size}", do="batch_size=32")
        self.form, self.task, self.processor, self.batch_size = form, task, processor, batch_size
        self.listeners: list[list[Arrays]] = []

    def __call__(self, inputs: Sequence[Any]) -> list[Answer]:
        """The answers, in the order of the inputs. Raises DataError naming the place of the first that failed."""
        answers = self.try_all(inputs)
        for place, answer in enumerate(answers):
            if isinstance(answer, Exception):
                raise self.blame(answer, f"input {place}") from answer
        return answers

    def try_all(self, inputs: Sequence[Any]) -> list[Answer | Exception]:
        """The answers, in the order of the inputs, with the exception in place of an answer where one failed."""
        if isinstance(inputs, str | bytes | Mapping) or not hasattr(inputs, "__len__"):
            raise DataError(f"give a list of inputs, not one {type(inputs).__name__}", do="predict([x])")
        answers: list[Any] = [None] * len(inputs)
        rounds, waiting = self.rounds(), iter(enumerate(inputs))
        places: dict[int, int] = {}
        while True:
            for place, x in itertools.islice(waiting, _AT_ONCE * self.batch_size - len(places)):
                ticket, events = rounds.join(x)
                places[ticket] = place
                _settle(answers, places, ((ticket, event) for event in events))
            if not places:
                return answers
            _settle(answers, places, rounds.round())

    def stream(self, x: Any) -> Iterator[Event]:
        """Pieces of the answer as they come, at last `("answer", answer)`; closing the iterator ends the talk.

        Raises DataError when the talk fails.
        """
        rounds = self.rounds()
        ticket, events = rounds.join(x)
        try:
            while True:
                for event in events:
                    if not isinstance(event, Delta) and event[0] == "fault":
                        raise self.blame(event[1], "the input") from event[1]
                    yield event
                    if not isinstance(event, Delta):
                        return
                events = [event for _, event in rounds.round()]
        finally:
            rounds.leave(ticket)

    def rounds(self) -> Rounds:
        """Talks to be run together by a caller of its own, such as a server."""
        return Rounds(self)

    @contextmanager
    def listen(self) -> Iterator[list[Arrays]]:
        """Record what the model is asked meanwhile: the named arrays of every pass, batch axis first; none resumes."""
        calls: list[Arrays] = []
        self.listeners.append(calls)
        try:
            yield calls
        finally:
            self.listeners.remove(calls)

    def ask(self, examples: Sequence[Example]) -> list[Arrays]:
        """The outputs of the model for examples with the same names of arrays, run as one batch."""
        batch = self.task.collate(examples, self.processor)
        outputs = self.task.forward(self._forward, batch)
        return _parts(outputs, batch)

    def _forward(self, **inputs: Any) -> Arrays:
        for calls in self.listeners:
            calls.append({name: np.array(array) for name, array in inputs.items()})
        return self.form.forward(inputs)

    def blame(self, fault: Exception, which: str) -> DanluError:
        """What to raise for a fault in a talk: it says which input, and for an unforeseen fault which task."""
        if isinstance(fault, DataError):
            return DataError(fault.what, where=", ".join(filter(None, [which, fault.where])), do=fault.do)
        if isinstance(fault, DanluError):
            return fault
        return DataError(f"{self.task.name} can't answer it: {type(fault).__name__}: {fault}", where=which)


def _parts(outputs: Arrays, batch: Batch) -> list[Arrays]:
    for name, array in outputs.items():
        if len(array) != len(batch):
            raise ValueError(f"the output {name!r} has {len(array)} rows for a batch of {len(batch)}")
    return [{name: array[k] for name, array in outputs.items()} for k in range(len(batch))]


def _settle(answers: list[Any], places: dict[int, int], events: Any) -> None:
    for ticket, event in events:
        if not isinstance(event, Delta):
            answers[places.pop(ticket)] = event[1]


# ---- talks ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Talk:
    """A generator, and what it asked for last. The lock is held while the generator runs."""

    answer: Generator[list[Example] | Delta, list[Arrays], Answer]
    asked: list[Example] = field(default_factory=list)
    left: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, outputs: list[Arrays] | None) -> list[Event]:
        """Go on with outputs (None: begin) until it asks again or ends; what it said meanwhile."""
        said: list[Event] = []
        with self.lock:
            try:
                while not self.left:
                    step = next(self.answer) if outputs is None else self.answer.send(outputs)
                    if isinstance(step, Delta):
                        said.append(step)
                        outputs = None
                    elif step:
                        self.asked = _examples(step)
                        break
                    else:
                        outputs = []
            except StopIteration as end:
                said.append(("answer", end.value))
            except Exception as fault:  # noqa: BLE001 - a task may raise anything; it ends this talk alone
                said.append(("fault", fault))
        return said

    def go_on(self, outputs: dict[int, Arrays]) -> list[Event]:
        return self.send([outputs[id(example)] for example in self.asked])

    def fail(self, fault: Exception) -> list[Event]:
        self.leave()
        return [("fault", fault)]

    def leave(self) -> None:
        self.left = True
        with self.lock, contextlib.suppress(Exception):  # what it says while it is sent away is its own affair
            self.answer.close()


def _examples(step: Any) -> list[Example]:
    if not isinstance(step, list) or not all(isinstance(example, Example) for example in step):
        raise TypeError("a talk yields lists of examples and deltas, nothing else")
    return list(step)


class Rounds:
    """Talks that share a model.

    `join` and `leave` may be called from any thread at any time. `round` has one owner: a second thread that calls it
    while one is running gets a RuntimeError. The events of a talk come in order, and its answer or fault is the last;
    a round that was running when a talk left may still bring something of it.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._talks: dict[int, _Talk] = {}
        self._tickets = itertools.count()
        self._owner = threading.Lock()

    def __len__(self) -> int:
        """How many talks are going on."""
        return len(self._talks)

    def join(self, x: Any) -> tuple[int, list[Event]]:
        """Begin a talk: its ticket, and what it says before it asks the model for the first time.

        The input is encoded here, in the caller's thread.
        """
        talk, events = self._begin(x)
        return self._enter(talk, events), events

    def _begin(self, x: Any) -> tuple[_Talk, list[Event]]:
        talk = _Talk(self._predictor.task.answer(x, self._predictor.processor))
        return talk, talk.send(None)

    def _enter(self, talk: _Talk, events: list[Event]) -> int:
        ticket = next(self._tickets)
        if not _over(events):
            self._talks[ticket] = talk
        return ticket

    def leave(self, ticket: int) -> None:
        """End a talk; one that is over, or was never there, is left alone."""
        talk = self._talks.pop(ticket, None)
        if talk is not None:
            talk.leave()

    def round(self) -> list[tuple[int, Event]]:
        """Ask the model once for everything that all talks want, and let each go on: what they said."""
        if not self._owner.acquire(blocking=False):
            raise RuntimeError("rounds have one owner, and another thread is running one")
        try:
            outputs, faults = self._run(talks := self._heard())
            events: list[tuple[int, Event]] = []
            for ticket, talk in talks.items():
                said = talk.fail(faults[ticket]) if ticket in faults else talk.go_on(outputs)
                events += [(ticket, event) for event in said]
                if _over(said):
                    self._talks.pop(ticket, None)
            return events
        finally:
            self._owner.release()

    def _heard(self) -> dict[int, _Talk]:
        """Who may ask in this round: of talks that keep a state the first batch, which bounds the memory of states."""
        talks = dict(self._talks)
        keeping = [ticket for ticket, talk in talks.items() if any(example.keep for example in talk.asked)]
        for ticket in keeping[self._predictor.batch_size :]:
            del talks[ticket]
        return talks

    def _run(self, talks: dict[int, _Talk]) -> tuple[dict[int, Arrays], dict[int, Exception]]:
        """The outputs of all that was asked, by the identity of the example; the faults, by ticket."""
        wanted = [(ticket, example) for ticket, talk in talks.items() for example in talk.asked]
        outputs = self._resumed([example for _, example in wanted if example.keep])
        faults: dict[int, Exception] = {}
        rest = [(ticket, example) for ticket, example in wanted if id(example) not in outputs]
        for batch in _batches(rest, self._predictor.batch_size):
            try:
                outputs |= self._ask([example for _, example in batch])
            except Exception:  # noqa: BLE001 - whatever it was, each talk is asked alone to find whose fault it is
                for ticket, pairs in itertools.groupby(sorted(batch, key=_TICKET), _TICKET):
                    try:
                        outputs |= self._ask([example for _, example in pairs])
                    except Exception as fault:  # noqa: BLE001 - handed to the one who asked
                        faults[ticket] = fault
        return outputs, faults

    def _ask(self, examples: list[Example]) -> dict[int, Arrays]:
        return dict(zip(map(id, examples), self._predictor.ask(examples), strict=True))

    def _resumed(self, examples: list[Example]) -> dict[int, Arrays]:
        """Outputs of talks that go on from a state; none where the form has no memory or fails: they are recomputed."""
        try:
            found = self._predictor.form.resume(examples) if examples and not self._predictor.listeners else None
        except Exception:  # noqa: BLE001 - recomputing gives the same answer, or shows whose fault it is
            found = None
        for example, (_, state) in zip(examples, found or (), strict=False):
            example.state = state
        return {id(example): outputs for example, (outputs, _) in zip(examples, found or (), strict=False)}


def _over(events: Sequence[Event]) -> bool:
    return bool(events) and not isinstance(events[-1], Delta)


def _batches(wanted: Sequence[tuple[int, Example]], size: int) -> Iterator[list[tuple[int, Example]]]:
    """Batches of examples with the same names of arrays and like length, the longest first."""
    groups: dict[tuple[str, ...], list[tuple[int, Example]]] = {}
    for ticket, example in wanted:
        groups.setdefault(tuple(sorted(example.inputs)), []).append((ticket, example))
    for group in groups.values():
        group.sort(key=lambda pair: _length(pair[1]), reverse=True)
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _length(example: Example) -> int:
    return max((len(array) for array in example.inputs.values() if np.ndim(array)), default=0)


# ---- for an event loop -----------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Caller:
    """One who waits for a talk in an event loop. All but `hear` is guarded by the predictor's lock."""

    hear: Callable[[Event], object]
    ticket: int | None = None
    gone: bool = False


class AsyncPredictor:
    """Answers callers of an event loop; one thread of its own owns the rounds, so all callers share batches.

    Leaving early (a cancelled task, a closed stream) ends the talk before the next round. `close` ends the thread.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._rounds = predictor.rounds()
        self._callers: dict[int, _Caller] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="danlu-rounds", daemon=True)
        self._thread.start()

    async def __call__(self, x: Any) -> Answer:
        """The answer; raises DataError when the talk fails."""
        async with contextlib.aclosing(self.stream(x)) as events:
            async for event in events:
                if not isinstance(event, Delta):
                    return event[1]
        raise RuntimeError("the talk ended without an answer")

    async def stream(self, x: Any) -> AsyncGenerator[Event]:
        """Pieces of the answer as they come, at last `("answer", answer)`. Raises DataError when the talk fails."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()
        caller = _Caller(lambda event: loop.call_soon_threadsafe(events.put_nowait, event))
        try:
            await asyncio.to_thread(self._join, x, caller)
            while True:
                event = await events.get()
                if not isinstance(event, Delta) and event[0] == "fault":
                    raise self.predictor.blame(event[1], "the input") from event[1]
                yield event
                if not isinstance(event, Delta):
                    return
        finally:
            self._leave(caller)

    def close(self) -> None:
        """Let the round that is running end, and the thread with it; talks that were going on fail."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _join(self, x: Any, caller: _Caller) -> None:
        talk, events = self._rounds._begin(x)
        with self._changed:
            if self._closed:
                raise MachineError("the predictor was closed")
            if caller.gone:
                talk.leave()
                return
            caller.ticket = self._rounds._enter(talk, events)
            self._callers[caller.ticket] = caller
            self._deliver([(caller.ticket, event) for event in events])
            self._changed.notify()

    def _leave(self, caller: _Caller) -> None:
        with self._changed:
            caller.gone = True
            if caller.ticket is not None:
                self._callers.pop(caller.ticket, None)
                self._rounds.leave(caller.ticket)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._rounds))
                if self._closed:
                    closed = MachineError("the predictor was closed")
                    self._deliver([(ticket, ("fault", closed)) for ticket in list(self._callers)])
                    return
            try:
                events = self._rounds.round()
            except Exception as fault:  # noqa: BLE001 - nobody may wait for ever, whatever went wrong
                events = [(ticket, ("fault", fault)) for ticket in list(self._callers)]
            with self._changed:
                self._deliver(events)

    def _deliver(self, events: Sequence[tuple[int, Event]]) -> None:
        for ticket, event in events:
            caller = self._callers.get(ticket)
            if caller is not None:
                with contextlib.suppress(RuntimeError):  # its event loop is gone, and whoever waited there with it
                    caller.hear(event)
