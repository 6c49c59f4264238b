"""What callers do wrong, over bare sockets: the answer says what, and the server goes on."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asking import Versions, head, post, predictor, raw

from danlu.serving.server import running
from danlu.serving.wire import Limits

LIMITS = Limits(inputs=256, body=2**20, depth=20, head=8192, head_seconds=0.5, body_seconds=0.5, answer_seconds=2)


@pytest.fixture(scope="module")
def url():
    with running([Versions({1: predictor})], LIMITS) as (url, _):
        yield url


@pytest.fixture(autouse=True)
def still_answers(url):
    """After whatever a test did, a good request is answered."""
    yield
    status, told, _ = post(url, {"input": "xx"})
    assert (status, told["answer"]["label"]) == (200, "short")


def status_of(received):
    return int(received.split()[1])


def body_of(received):
    return json.loads(received.partition(b"\r\n\r\n")[2])


def test_a_body_of_a_gigabyte_is_refused_by_its_head(url):
    received = raw(url, head(2**30, expect="100-continue"))
    assert status_of(received) == 413
    assert body_of(received)["error"]["what"] == "the request is larger than 1 MiB"


def test_who_sends_it_all_the_same_still_reads_why(url):
    received = raw(url, head(4 * 2**20), *[b"x" * 2**19] * 8)
    assert status_of(received) == 413


def test_a_body_without_a_length_is_not_held_beyond_the_limit(url):
    start = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"80000\r\n" + b"x" * 0x80000 + b"\r\n"
    assert status_of(raw(url, start, *[chunk] * 8, b"0\r\n\r\n")) == 413


@pytest.mark.parametrize("depth", [21, 900, 10_000, 100_000])
def test_a_deep_body(url, depth):
    status, told, _ = post(url, b'{"input": ' + b"[" * depth + b"]" * depth + b"}")
    assert status == 400
    assert "nested" in told["error"]["what"]


def test_a_body_that_is_cut_off(url):
    assert raw(url, head(100) + b'{"input": ', read=False) == b""


def test_one_byte_a_second(url):
    received = raw(url, head(100), *[b"x"] * 12, pause=0.1)
    assert status_of(received) == 408
    assert "the body did not come within 0.5 s" in body_of(received)["error"]["what"]


@pytest.mark.parametrize("pieces", [[b""], [b"P"], [b"POST /v1/predict HTTP/1.1\r\n"], [b"h"] * 12])
def test_a_head_that_does_not_come(url, pieces):
    began = time.monotonic()
    raw(url, *pieces, pause=0.1)
    assert time.monotonic() - began < 12, "the connection was kept"


def test_a_keep_alive_connection_that_stops_within_its_second_head(url):
    good = b'{"input": "xx"}'
    received = raw(url, head(len(good)) + good, b"POST", pause=0.1)
    assert received.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("size", [8200, 60_000, 300_000])
@pytest.mark.parametrize("pause", [0, 0.05])
def test_a_head_that_is_too_large(url, size, pause):
    sent = head(0, x_long="y" * size)
    received = raw(url, sent[:100], sent[100:], pause=pause)
    assert status_of(received) == 431
    assert b"connection: close" in received.lower()
    assert body_of(received)["error"]["what"] == "the request's line and headers are too large"


def test_a_path_that_is_too_large(url):
    assert status_of(raw(url, b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")) == 431
    assert status_of(raw(url, b"GET /?" + b"y" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")) == 431


def test_a_head_within_the_limit(url):
    good = b'{"input": "xx"}'
    assert b"HTTP/1.1 200" in raw(url, head(len(good), x_long="y" * 8000) + good, end=True)


GOOD = b'{"input": "xx"}'


@pytest.mark.parametrize("requests", [1, 3])
def test_a_caller_who_closes_its_side_is_answered(url, requests):
    received = raw(url, (head(len(GOOD)) + GOOD) * requests, end=True)
    assert received.count(b"HTTP/1.1 200") == received.count(b'"label"') == requests


def test_an_old_caller_who_closes_its_side_gets_no_interim_response(url):
    old = head(len(GOOD)).replace(b"HTTP/1.1", b"HTTP/1.0") + GOOD
    assert status_of(raw(url, old, end=True)) == 200


def test_who_closes_its_side_in_the_middle_has_left(url):
    assert raw(url, head(100) + GOOD, end=True) == b""
    assert raw(url, b"POST /v1/pre", end=True) == b""
    assert raw(url, b"", end=True) == b""


def test_who_closes_both_sides_while_it_waits_has_left():
    free = threading.Event()
    slow = Versions({1: lambda: predictor(before=lambda inputs: free.wait(20))})
    free.set()
    with running([slow], Limits(answer_seconds=15)) as (url, state):
        free.clear()
        raw(url, head(len(GOOD)) + GOOD, pause=0.05, read=False)
        left = state.metrics.refused.labels("left")._value
        until = time.monotonic() + 10
        while not left.get() and time.monotonic() < until:
            time.sleep(0.02)
        free.set()
        assert left.get() == 1
        assert state.held == 0


def test_the_bodies_of_all_callers_are_bounded():
    free = threading.Event()
    slow = Versions({1: lambda: predictor(before=lambda inputs: free.wait(20))})
    free.set()
    limits = Limits(body=2**20, bodies=10_000, answer_seconds=15)
    with running([slow], limits) as (url, state), ThreadPoolExecutor(1) as pool:
        large = {"input": "x" * 50_000}
        assert post(url, large)[0] == 200, "one alone is taken whatever its size"
        assert state.held == 0
        free.clear()
        waiting = pool.submit(post, url, large)
        until = time.monotonic() + 10
        while not state.held and time.monotonic() < until:
            time.sleep(0.02)
        assert state.held > 50_000
        status, told, headers = post(url, {"input": "xx"})
        assert (status, headers["retry-after"]) == (503, "1")
        assert told["error"]["what"] == "too many bytes of requests wait already"
        free.set()
        assert waiting.result()[0] == 200
        assert post(url, {"input": "xx"})[0] == 200
        assert state.held == 0


def test_ten_thousand_inputs(url):
    status, told, _ = post(url, {"inputs": ["x"] * 10_000})
    assert (status, told["error"]["where"]) == (413, "inputs")
    assert told["error"]["what"] == "10,000 inputs are too many, at most 256 are taken"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"input": NaN}', "NaN is not a JSON number"),
        (b'{"input": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"input": 1e999}', "1e999 is too large a number"),
        (b'{"input": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"input": "\xff"}', "byte 11 is not utf-8"),
        (b"\x00\x01", "not JSON"),
        (b'{"input": "a"', "not JSON"),
    ],
)
def test_what_is_not_json(url, body, what):
    status, told, _ = post(url, body)
    assert status == 400
    assert what in told["error"]["what"]
    assert told["error"]["do"]


def test_lone_surrogates_and_null_characters_are_text(url):
    status, told, _ = post(url, b'{"inputs": ["\\ud800", "\\u0000", "\\udfff\\ud800"]}')
    assert status == 200
    assert [answer["label"] for answer in told["answers"]] == ["short"] * 3


def test_a_compressed_body(url):
    status, told, _ = post(url, b"x", headers={"content-encoding": "gzip"})
    assert (status, told["error"]["what"]) == (415, "a compressed body is not read")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/predict", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/predict/", 404),
        ("POST", "/v1/models/other/predict", 404),
        ("GET", "/", 404),
        ("GET", "/" + "y" * 3000, 404),
    ],
)
def test_what_is_not_there(url, method, path, status):
    got, told, headers = post(url, None, path, method)
    assert got == status
    assert "/v1/models/toy/predict" in told["error"]["do"]
    assert status != 405 or headers["allow"]


@pytest.mark.parametrize(
    "bytes_",
    [b"\x00" * 100, b"GET\r\n\r\n", b"POST /v1/predict HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\r\n" * 9],
)
def test_what_is_not_http(url, bytes_):
    received = raw(url, bytes_, patience=2.0)
    assert received == b"" or status_of(received) == 400


def test_two_lengths_are_refused(url):
    assert (
        status_of(raw(url, b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n"))
        == 400
    )
