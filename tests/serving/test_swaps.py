"""Swaps under load: no request is lost, and every answer is that of a version that was wanted at that time."""

import asyncio
import time
from dataclasses import replace
from functools import partial

from asking import Versions, expected, loaded, predictor
from load import Alias, drive, faults

from danlu.serving import hosting
from danlu.serving.server import running
from danlu.serving.wire import Limits

SHIFTS = {1: 0.0, 2: 20.0, 3: 40.0}


def right(version, text, answer):
    return abs(answer["scores"]["long"] - expected(text, SHIFTS[int(version.partition("@")[2])])) < 1e-4


def version(shift):
    """A version whose passes take some time, so that requests are under way at any moment."""
    return predictor(shift, batch_size=2, before=lambda inputs: time.sleep(0.004))


def changed():
    """A version that does not give the answers it was published with."""
    return replace(loaded(predictor(), 9), predictor=version(30))


def swapped(requests, swaps, bad=()):
    """Faults by kind, and which versions answered, for callers who ask while the alias moves."""
    versions = {n: partial(version, shift) for n, shift in SHIFTS.items()} | dict.fromkeys(bad, changed)
    source, alias = Versions(versions), Alias()
    alias.moved("toy@1")

    async def run(url, model):
        asking = asyncio.create_task(drive(url, [f"{'x' * (k % 90)}" for k in range(requests)]))
        path = [*bad, 2, 3, 1] * swaps
        for number in path[:swaps]:
            await asyncio.sleep(0.15)
            source.wants = number
            if number not in bad:
                alias.moved(f"toy@{number}")
            began = time.monotonic()
            while number not in bad and model.current.loaded.number != number:
                assert time.monotonic() - began < 20, "the swap did not happen"
                await asyncio.sleep(0.01)
        return await asking

    with running([source], Limits()) as (url, state):
        seen = asyncio.run(run(url, state.models[0]))
    assert len(seen) == requests
    return faults(seen, alias, right, lag=20), {one.version for one in seen}


def test_no_request_is_lost_and_every_answer_is_of_a_wanted_version():
    found, answered = swapped(1600, 4)
    assert not found
    assert answered == {"toy@1", "toy@2", "toy@3"}


def test_a_version_that_fails_its_sample_takes_no_request():
    found, answered = swapped(800, 4, bad=[9])
    assert not found
    assert "toy@9" not in answered


def test_routing_before_the_sample_would_be_found(monkeypatch):
    monkeypatch.setattr(hosting, "self_test", lambda *loaded: None)
    found, _ = swapped(800, 4, bad=[9])
    assert found["version not valid"] > 0


def test_throwing_away_what_waits_for_the_old_version_would_be_found(monkeypatch):
    take_over = hosting.Model._swap

    def swap(model, serving):
        before = model.current
        take_over(model, serving)
        for item in before.batcher.take_all():
            item.job.settle(item.place, RuntimeError("dropped"))

    monkeypatch.setattr(hosting.Model, "_swap", swap)
    found, _ = swapped(1600, 4)
    assert found["status 422"] > 0
