import asyncio
import random
import threading
import time

import numpy as np
import pytest
from asking import expected, predictor
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.core.errors import MachineError
from danlu.serving.batcher import Batcher, ClosedError, FullError, Job, _Worker

TEXTS = st.one_of(st.integers(0, 99).map(lambda n: "x" * n), st.sampled_from(["bad", "crash", "exit", 7, None]))
JOBS = st.lists(
    st.tuples(st.lists(TEXTS, min_size=1, max_size=5), st.sampled_from([None, None, 0.0, 0.001])), max_size=12
)


def is_right(value, answer):
    """Whether this is the one answer to this value."""
    if isinstance(value, str) and value not in ("bad", "crash", "exit"):
        return not isinstance(answer, Exception) and abs(answer["scores"]["long"] - expected(value)) < 1e-5
    return isinstance(answer, Exception)


async def ask_all(batcher, jobs):
    """What every job got: a list of answers, or None where the caller left."""

    async def one(values, leave):
        job = batcher.submit(values)
        try:
            return await asyncio.wait_for(asyncio.shield(job.future), 20 if leave is None else leave)
        except TimeoutError:
            assert leave is not None, "a job did not end"
            return None
        finally:
            batcher.cancel(job)

    return await asyncio.gather(*(one(values, leave) for values, leave in jobs))


def wrong(jobs, workers=2, before=lambda inputs: None):
    """How many answers are not the right ones, for callers of which some leave early."""
    batcher = Batcher(predictor(before=before, batch_size=3), workers=workers)
    try:
        found = asyncio.run(ask_all(batcher, jobs))
    finally:
        batcher.close(10)
    return sum(
        not is_right(value, answer)
        for (values, _), answers in zip(jobs, found, strict=True)
        for value, answer in zip(values, answers or (), strict=answers is not None)
    )


@settings(max_examples=60, deadline=None)
@given(JOBS)
def test_every_caller_gets_the_answers_to_its_own_inputs(jobs):
    assert wrong(jobs) == 0


def test_pairing_by_place_instead_of_ticket_would_be_found(monkeypatch):
    """The fault of which batching servers died: answers are handed out in order, though some callers have left."""

    def hear(worker, ticket, event):
        if worker._talks and not isinstance(event, str):
            first = next(iter(worker._talks))
            item = worker._talks.pop(first)
            item.job.settle(item.place, event[1])

    monkeypatch.setattr(_Worker, "_hear", hear)
    draw = random.Random(0)
    jobs = [(["x" * draw.randrange(100)], None) for _ in range(40)]
    jobs[::5] = [(["bad", "x" * 50], None)] * 8
    assert wrong([(values, None) for values, _ in jobs]) > 0


def test_a_pass_that_fails_for_one_input_fails_for_it_alone():
    def before(inputs):
        if (inputs["n"] == 13).any():
            raise RuntimeError("thirteen")

    batcher = Batcher(predictor(before=before))
    (answers,) = asyncio.run(ask_all(batcher, [(["x", "x" * 13, "xx"], None)]))
    batcher.close(10)
    assert [isinstance(answer, RuntimeError) for answer in answers] == [False, True, False]


@pytest.mark.parametrize("name", ["take", "note", "wait"])
@pytest.mark.parametrize("fault", [ZeroDivisionError, MemoryError, SystemExit, KeyboardInterrupt])
def test_whatever_breaks_in_the_thread_every_job_ends_and_the_next_one_is_answered(monkeypatch, name, fault):
    batcher = Batcher(predictor())
    method, left = getattr(batcher, name), [3]

    def broken(*arguments):
        if left[0]:
            left[0] -= 1
            raise fault
        return method(*arguments)

    monkeypatch.setattr(batcher, name, broken)
    jobs = [([f"{'x' * k}"], None) for k in range(6)]
    for answers in asyncio.run(ask_all(batcher, jobs)):
        assert len(answers) == 1
    left[0] = 0
    (answers,) = asyncio.run(ask_all(batcher, [(["x" * 9], None)]))
    batcher.close(10)
    assert is_right("x" * 9, answers[0])


def test_what_ends_a_thread_elsewhere_is_told_as_an_error_of_ours(monkeypatch):
    batcher = Batcher(predictor())
    (answers,) = asyncio.run(ask_all(batcher, [(["exit", "x"], None)]))
    batcher.close(10)
    assert isinstance(answers[0], MachineError)
    assert is_right("x", answers[1])


class Slow:
    """Passes wait until they are let go, and note what they were asked."""

    def __init__(self):
        self.go, self.asked = threading.Event(), []

    def __call__(self, inputs):
        self.asked.append(inputs["n"].tolist())
        assert self.go.wait(20)


def until(holds):
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < 20
        time.sleep(0.001)


def test_nothing_is_computed_for_a_caller_who_has_left():
    slow = Slow()
    batcher = Batcher(predictor(before=slow, batch_size=1))

    async def run():
        first = batcher.submit(["x"])
        await asyncio.to_thread(until, lambda: slow.asked)
        second, third = batcher.submit(["xx", "xxxx"]), batcher.submit(["xxx"])
        batcher.cancel(second)
        assert batcher.waiting == 1
        slow.go.set()
        return await asyncio.gather(first.future, third.future)

    answers = asyncio.run(run())
    batcher.close(10)
    assert slow.asked == [[1], [3]]
    assert is_right("xxx", answers[1][0])


def test_what_comes_while_the_model_runs_shares_the_next_batch_like_with_like():
    slow = Slow()
    batcher = Batcher(predictor(before=slow, batch_size=4))

    async def run():
        jobs = [batcher.submit(["x"])]
        await asyncio.to_thread(until, lambda: slow.asked)
        jobs += [batcher.submit(["x" * n]) for n in (50, 2, 51, 3, 52, 4, 53, 5)]
        slow.go.set()
        await asyncio.gather(*(job.future for job in jobs))

    asyncio.run(run())
    batcher.close(10)
    assert [sorted(asked) for asked in slow.asked] == [[1], [50, 51, 52, 53], [2, 3, 4, 5]]


def test_idle_workers_share_what_waits():
    slow = Slow()
    batcher = Batcher(predictor(before=slow, batch_size=8), workers=2)
    until(lambda: batcher._idle == 2)

    async def run():
        job = batcher.submit(["x" * n for n in range(4)])
        await asyncio.to_thread(until, lambda: len(slow.asked) == 2)
        slow.go.set()
        await job.future

    asyncio.run(run())
    batcher.close(10)
    assert sorted(map(len, slow.asked))[-1] < 4


def test_a_long_job_lets_a_later_short_one_between():
    slow = Slow()
    batcher = Batcher(predictor(before=slow, batch_size=2))

    async def run():
        long = batcher.submit(["x"] * 20)
        await asyncio.to_thread(until, lambda: slow.asked)
        short = batcher.submit(["x" * 77])
        slow.go.set()
        await asyncio.gather(long.future, short.future)

    asyncio.run(run())
    batcher.close(10)
    assert next(k for k, asked in enumerate(slow.asked) if 77 in asked) < 4


def test_a_full_queue_is_told_with_how_long_it_will_take():
    slow = Slow()
    batcher = Batcher(predictor(before=slow, batch_size=1), room=3)

    async def run():
        jobs = [batcher.submit(["x"])]
        await asyncio.to_thread(until, lambda: slow.asked)
        jobs.append(batcher.submit(["x"] * 3))
        with pytest.raises(FullError) as full:
            batcher.submit(["x"])
        slow.go.set()
        await asyncio.gather(*(job.future for job in jobs))
        return full.value.seconds

    assert asyncio.run(run()) > 0
    batcher.close(10)


def test_a_closed_batcher_answers_what_it_took_and_takes_no_more():
    slow = Slow()
    batcher = Batcher(predictor(before=slow, batch_size=1))

    async def run():
        jobs = [batcher.submit(["x"]), batcher.submit(["xx"])]
        closing = asyncio.create_task(asyncio.to_thread(batcher.close, 20))
        await asyncio.to_thread(until, lambda: batcher._closed)
        with pytest.raises(ClosedError):
            batcher.submit(["x"])
        slow.go.set()
        await closing
        return await asyncio.gather(*(job.future for job in jobs))

    assert is_right("xx", asyncio.run(run())[1][0])


def test_a_job_of_a_loop_that_is_gone_harms_nobody():
    slow = Slow()
    batcher = Batcher(predictor(before=slow))

    async def leave():
        batcher.submit(["x"])

    asyncio.run(leave())
    slow.go.set()
    (answers,) = asyncio.run(ask_all(batcher, [(["xx"], None)]))
    batcher.close(10)
    assert is_right("xx", answers[0])


def test_an_answer_that_comes_twice_completes_a_job_once():
    async def run():
        job = Job(asyncio.get_running_loop().create_future(), [None], 1)
        job.settle(0, "first")
        job._complete()
        job._complete()
        return await job.future

    assert asyncio.run(run()) == ["first"]


def test_answers_are_those_of_an_unbatched_model():
    texts = ["x" * int(n) for n in np.random.default_rng(0).integers(0, 99, 300)]
    batcher = Batcher(predictor(), workers=2)
    found = asyncio.run(ask_all(batcher, [([text], None) for text in texts]))
    batcher.close(10)
    alone = predictor(batch_size=1)
    assert [answers[0] for answers in found] == [alone([text])[0] for text in texts]
