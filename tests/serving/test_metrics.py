import asyncio
import random
import re
from collections import Counter

import pytest
from asking import Versions, post, predictor
from load import drive
from prometheus_client.parser import text_string_to_metric_families

from danlu.serving.server import running
from danlu.serving.wire import Limits


@pytest.fixture
def served():
    with running([Versions({1: predictor})], Limits()) as (url, state):
        yield url, state


def read(url):
    """Series by name and labels."""
    status, text, headers = post(url, None, "/metrics", "GET")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {(s.name, *sorted(s.labels.items())): s.value for s in samples}


def counted(url, name, *labels):
    """The values of a metric by some of its labels."""
    found = Counter()
    for (series, *pairs), value in read(url).items():
        if series == name:
            found[tuple(dict(pairs)[label] for label in labels)] += value
    return found


def check_counts(url, requests, seed=0):
    """Ask in all the ways there are, and compare the server's counts with the callers' own."""
    draw = random.Random(seed)
    texts = ["x" * draw.randrange(90) if draw.random() > 0.1 else "bad" for _ in range(requests)]
    seen = asyncio.run(drive(url, texts))
    own = Counter(str(one.status) for one in seen)
    own_inputs = Counter("answered" if one.status == 200 else "failed" for one in seen)
    for body, status, failed, answered in (
        (b"{", "400", 0, 0),
        ({"inputs": ["x", 7, "x"]}, "200", 1, 2),
        ({"inputs": []}, "422", 0, 0),
    ):
        post(url, body)
        own[status] += 1
        own_inputs += Counter(failed=failed, answered=answered)
    theirs = {status: n for (route, status), n in counted(url, "danlu_requests_total", "route", "status").items()
              if route == "/v1/predict"}  # fmt: skip
    assert theirs == own
    assert {o: n for (o,), n in counted(url, "danlu_inputs_total", "outcome").items()} == own_inputs
    batches = counted(url, "danlu_batch_inputs_sum", "model")[("toy",)]
    assert batches == own_inputs["answered"]
    assert counted(url, "danlu_request_seconds_count", "route")[("/v1/predict",)] == sum(own.values())


def test_the_counts_are_those_of_the_callers(served):
    check_counts(served[0], 400)


def test_a_request_that_is_not_counted_would_be_found(served, monkeypatch):
    requests, dropped = served[1].metrics.requests, [1]
    labels = requests.labels

    class Nothing:
        def inc(self):
            pass

    monkeypatch.setattr(requests, "labels", lambda *names: Nothing() if dropped and dropped.pop() else labels(*names))
    with pytest.raises(AssertionError):
        check_counts(served[0], 50)


def test_what_callers_make_up_makes_no_series(served):
    url, _ = served
    before = len(read(url))
    for k in range(60):
        post(url, None, f"/v1/models/m{k}/predict?x={k}", ("GET", "POST", "PUT", f"M{k}")[k % 4])
    after = read(url)
    assert len(after) <= before + 60  # one route, a few statuses, one histogram
    routes = {dict(pairs).get("route") for _, *pairs in after}
    assert routes <= {None, "other", "/metrics", "/v1/predict"}


def test_the_version_that_answers_is_one_series(served):
    url, state = served
    model = state.models[0]
    model.source.versions[2] = predictor
    model.source.wants = 2
    while model.current.loaded.number != 2:
        asyncio.run(asyncio.sleep(0.01))
    infos = [dict(pairs) for name, *pairs in read(url) if name == "danlu_model_info"]
    assert [(info["model"], info["version"], info["alias"]) for info in infos] == [("toy", "toy@2", "production")]
    assert counted(url, "danlu_swaps_total", "outcome")[("done",)] == 1


def test_refusals_are_counted_by_kind(served):
    url, _ = served
    for body, kind in ((b"{", "malformed"), (b"[]", "invalid"), ({"inputs": ["x"] * 999}, "too_large")):
        before = counted(url, "danlu_refused_total", "kind")[(kind,)]
        post(url, body)
        assert counted(url, "danlu_refused_total", "kind")[(kind,)] == before + 1


def test_the_buckets_reach_beyond_the_time_limit_of_an_answer(served):
    post(served[0], {"input": "x"})
    bounds = {float(dict(pairs)["le"]) for name, *pairs in read(served[0]) if name == "danlu_request_seconds_bucket"}
    assert max(bounds - {float("inf")}) >= Limits().answer_seconds
    assert sum(bound <= 0.1 for bound in bounds) >= 10


def test_nothing_that_was_asked_is_in_the_metrics(served):
    post(served[0], {"input": "canary-7f3a"})
    post(served[0], b'{"input": "canary-7f3a"', "/canary-7f3a")
    assert not re.search("canary", post(served[0], None, "/metrics", "GET")[1])
