"""A predictor in threads and event loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

import pytest

from danlu.core.errors import DataError, MachineError
from danlu.predictor import AsyncPredictor, Predictor
from talks import Form, Talking, predictor

# ---- threads and event loops -----------------------------------------------------------------------------------------


def test_rounds_have_one_owner() -> None:
    entered, free = threading.Event(), threading.Event()

    class Slow(Form):
        def forward(self, inputs):
            entered.set()
            free.wait(10)
            return super().forward(inputs)

    rounds = predictor(Slow()).rounds()
    rounds.join([[("a", [1])]])
    owner = threading.Thread(target=rounds.round)
    owner.start()
    entered.wait(10)
    with pytest.raises(RuntimeError, match="rounds have one owner"):
        rounds.round()
    ticket, _ = rounds.join([[("a", [1])]])
    assert len(rounds) == 2
    rounds.leave(ticket)
    free.set()
    owner.join()
    assert len(rounds) == 0


def test_joining_and_leaving_from_many_threads() -> None:
    rounds = predictor(batch_size=8).rounds()
    joined: list[tuple[int, int]] = []
    left: set[int] = set()
    done = threading.Event()

    def callers(start: int) -> None:
        for k in range(start, start + 50):
            ticket, _ = rounds.join([[("a", [k])]] * 3)
            joined.append((ticket, k))
            if k % 5 == 0:
                rounds.leave(ticket)
                left.add(ticket)

    threads = [threading.Thread(target=callers, args=(100 * t,)) for t in range(6)]
    answers: list[tuple[int, object]] = []

    def own() -> None:
        while not done.is_set() or len(rounds):
            answers.extend((ticket, event[1]) for ticket, event in rounds.round())

    owner = threading.Thread(target=own)
    for thread in [owner, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    owner.join()
    said = Counter(ticket for ticket, _ in answers)
    assert set(said.values()) <= {1}
    wanted = dict(joined)
    assert {ticket for ticket in wanted if ticket not in left} <= said.keys()
    assert all(answer == [[(wanted[ticket], [2 * wanted[ticket]])]] * 3 for ticket, answer in answers)


def test_callers_of_an_event_loop_share_batches_and_one_who_leaves_is_forgotten() -> None:
    entered, free = threading.Event(), threading.Event()

    class Slow(Form):
        def forward(self, inputs):
            entered.set()
            free.wait(10)
            return super().forward(inputs)

    form = Slow()

    async def main() -> None:
        model = AsyncPredictor(predictor(form, batch_size=8))
        first = asyncio.create_task(model([[("a", [1])]]))
        await asyncio.to_thread(entered.wait, 10)
        others = [asyncio.create_task(model([[("a", [k])]])) for k in range(2, 6)]
        while len(model._rounds) < 5:
            await asyncio.sleep(0.001)
        others[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await others[0]
        free.set()
        assert await first == [[(1, [2])]]
        assert await asyncio.gather(*others[1:]) == [[[(k, [2 * k])]] for k in (3, 4, 5)]
        assert form.shapes == [{"a": (1, 1)}, {"a": (3, 1)}]
        assert not len(model._rounds)
        assert not model._callers
        model.close()

    asyncio.run(main())


def test_a_stream_in_an_event_loop() -> None:
    async def main() -> None:
        model = AsyncPredictor(predictor())
        heard = [event async for event in model.stream(["one", [("a", [1])], "two"])]
        assert heard == ["one", "two", ("answer", [[(1, [2])]])]
        with pytest.raises(DataError, match="the input: talking can't answer it: ValueError: the talk broke"):
            await model([[("a", [1])], "raise"])
        events = model.stream(["one", [("a", [1])], "two"])
        assert await anext(events) == "one"
        await events.aclose()
        while len(model._rounds):
            await asyncio.sleep(0.001)
        model.close()
        with pytest.raises(MachineError, match="the predictor was closed"):
            await model([])

    asyncio.run(main())


def test_closing_fails_those_who_wait() -> None:
    free = threading.Event()

    class Slow(Form):
        def forward(self, inputs):
            free.wait(10)
            return super().forward(inputs)

    async def main() -> None:
        model = AsyncPredictor(predictor(Slow(), batch_size=1))
        waiting = asyncio.create_task(model([[("a", [1])]] * 1000))
        while not len(model._rounds):
            await asyncio.sleep(0.001)
        threading.Timer(0.05, free.set).start()
        await asyncio.to_thread(model.close)
        with pytest.raises(MachineError, match="the predictor was closed"):
            await waiting

    asyncio.run(main())


def test_a_caller_cancelled_while_its_input_is_encoded_leaves_no_talk() -> None:
    entered, free = threading.Event(), threading.Event()

    class SlowToEncode(Talking):
        def answer(self, x, processor):
            entered.set()
            free.wait(10)
            return (yield from super().answer(x, processor))

    async def main() -> None:
        model = AsyncPredictor(Predictor(Form(), SlowToEncode(), None))
        caller = asyncio.create_task(model([[("a", [1])]]))
        await asyncio.to_thread(entered.wait, 10)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        free.set()
        time.sleep(0.05)
        assert not len(model._rounds)
        assert not model._callers
        model.close()

    asyncio.run(main())
