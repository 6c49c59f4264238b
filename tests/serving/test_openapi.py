"""The schema tells the truth: what it allows is answered as it says, what it forbids is refused as it says."""

import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import schemathesis
from asking import Versions, head, post, predictor, raw
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from danlu.serving.server import running
from danlu.serving.wire import Limits

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
)

LIMITS = Limits(body_seconds=0.3, head_seconds=0.3)


@pytest.fixture(scope="module")
def url():
    with running([Versions({1: predictor})], LIMITS) as (url, _):
        yield url


def fuzz(url, examples):
    """Send cases that follow the schema and cases that do not; raises for the first answer that breaks a promise."""
    modes, sent = schemathesis.GenerationMode, []
    common = {"database": None, "deadline": None, "phases": [Phase.generate], "derandomize": True}

    def run(case):
        case.call_and_validate(checks=CHECKS, timeout=10)
        sent.append(case)

    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        operation = found.ok()
        for mode in (modes.POSITIVE, modes.NEGATIVE) if operation.body else (modes.POSITIVE,):
            asking = settings(max_examples=examples, suppress_health_check=list(HealthCheck), **common)
            asking(given(operation.as_strategy(generation_mode=mode))(run))()
    return len(sent)


def test_what_is_sent_is_answered_as_the_schema_says(url):
    assert fuzz(url, 15) >= 50


def bytes_of(draw):
    """A request that may be broken anywhere."""
    good = json.dumps({"inputs": ["x" * draw.randrange(20), draw.choice([None, 7, {}, [], "bad", True])]}).encode()
    body = bytearray(good)
    for _ in range(draw.choice([0, 0, 1, 3])):
        body[draw.randrange(len(body))] = draw.randrange(256)
    length = len(body) + draw.choice([0, 0, 0, 0, 0, -1, 1, 10**9, 10**30])
    start = bytearray(
        head(length, connection="close")
        if draw.random() > 0.1
        else head(length, connection="close").replace(b"content-length", b"transfer-encoding")
    )
    for _ in range(draw.choice([0, 0, 1, 3])):
        start[draw.randrange(len(start))] = draw.randrange(256)
    return bytes(start), bytes(body[: draw.randrange(len(body) + 1)] if draw.random() < 0.2 else body)


def fuzz_bytes(url, count, seed=0):
    """Send broken bytes; returns the statuses, 0 where the connection was closed without one."""
    draw = random.Random(seed)
    requests = [bytes_of(draw) for _ in range(count)]
    with ThreadPoolExecutor(16) as threads:  # most of the time they wait for the rest of a body
        answers = threads.map(lambda request: raw(url, *request, patience=5.0), requests)
        return [int(received.split()[1]) if received else 0 for received in answers]


def test_broken_bytes_are_no_fault_of_the_server(url):
    statuses = fuzz_bytes(url, 120)
    assert max(statuses) < 500
    assert {200, 400} <= set(statuses)
    assert post(url, {"input": "x"})[0] == 200


def test_a_handler_that_fails_on_null_would_be_found(monkeypatch):
    """The planted fault."""
    from danlu.serving import front

    read = front.read_request

    def broken(body, limits):
        values, single = read(body, limits)
        if None in values:
            raise TypeError("null")
        return values, single

    monkeypatch.setattr(front, "read_request", broken)
    with running([Versions({1: predictor})], LIMITS) as (url, _):
        status, told, _ = post(url, {"input": None})
        assert (status, told["error"]["what"]) == (500, "the server failed; its log says how")
        assert max(fuzz_bytes(url, 120)) == 500
