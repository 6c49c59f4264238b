"""The long forms of the proofs of serving; `make proof` runs them. Each has its planted fault in the short form's file."""

import random

import pytest
from asking import Versions, predictor
from test_batcher import wrong
from test_metrics import check_counts
from test_openapi import LIMITS, fuzz, fuzz_bytes
from test_swaps import swapped

from danlu.serving.server import running
from danlu.serving.wire import Limits

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]


def test_v1_fifty_thousand_requests_over_twenty_swaps():
    found, answered = swapped(50_000, 20)
    assert not found
    assert len(answered) == 3


def test_v2_bad_versions_take_no_request():
    found, answered = swapped(20_000, 20, bad=[9])
    assert not found
    assert "toy@9" not in answered


def test_v5_a_hundred_thousand_answers_each_to_its_caller():
    draw = random.Random(0)
    bad = ["bad", "crash", "exit", 7, None]
    asked = 0
    while asked < 100_000:
        jobs = []
        for _ in range(100):
            values = [
                draw.choice(bad) if draw.random() < 0.05 else "x" * draw.randrange(100)
                for _ in range(draw.randint(1, 8))
            ]
            jobs.append((values, draw.choice([None, None, None, 0.0, 0.005])))
            asked += len(values)
        assert wrong(jobs) == 0


def test_v8_ten_thousand_fuzzed_requests():
    with running([Versions({1: predictor})], LIMITS) as (url, state):
        sent = fuzz(url, 1500)
        statuses = fuzz_bytes(url, max(10_000 - sent, 2_000))
        assert max(statuses) < 500
        assert sent + len(statuses) >= 10_000
        assert not state.unready()


def test_m1_fifty_thousand_counts():
    with running([Versions({1: predictor})], Limits()) as (url, _):
        check_counts(url, 50_000)
