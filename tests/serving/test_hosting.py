import asyncio
import logging
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from asking import Length, Versions, expected, loaded, predictor

from danlu.core.errors import DataError, GateError
from danlu.serving import hosting
from danlu.serving.hosting import Loaded, Model, Watcher, self_test
from danlu.serving.metrics import Metrics
from danlu.serving.wire import Limits


class Nan(Length):
    def forward(self, inputs):
        return {"logits": np.full((len(inputs["n"]), 2), np.nan)}


class Wrong(Length):
    """Answers a batch with too few rows."""

    def forward(self, inputs):
        return {"logits": np.zeros((1, 1))}


def refused():
    raise DataError("model.onnx was changed: its SHA-256 differs")


def crashed():
    raise RuntimeError("a stranger's plug-in")


def ended():
    raise SystemExit


def changed():
    """A version that answers something else than what was published."""
    return replace(loaded(predictor(), 2), predictor=predictor(shift=30))


def sleepy():
    """It was quick when it was published."""
    return replace(loaded(predictor(), 2), predictor=predictor(before=lambda inputs: time.sleep(0.11)))


def slow():
    threading.Event().wait(1.5)
    return predictor()


BAD = {
    "cannot be loaded": (refused, "SHA-256 differs"),
    "crashes": (crashed, "loading it failed (RuntimeError)"),
    "ends its thread": (ended, "SystemExit"),
    "NaN": (lambda: replace(loaded(predictor(), 2), predictor=predictor(form=Nan())), "not finite"),
    "NaN, no sample": (lambda: Loaded("toy@2", 2, "onnx", predictor(form=Nan())), "not finite"),
    "wrong shape": (lambda: Loaded("toy@2", 2, "onnx", predictor(form=Wrong())), "can't answer"),
    "other answers": (changed, "from the one that was published"),
    "slow to answer": (sleepy, "its answer took"),
    "slow to load": (slow, "not ready within 0.2 s"),
}


@pytest.fixture
def made():
    """Make a model of versions, and end its threads."""
    models = []

    def made(versions, limits=None, **more):
        models.append(
            Model(Versions(versions, **more), limits or Limits(load_seconds=0.2, answer_seconds=0.1), Metrics())
        )
        return models[-1]

    yield made
    for model in models:
        model.close(10)


def ask(model, text="xxxx"):
    async def run():
        serving, job = model.submit([text])
        return serving.loaded.number, (await job.future)[0]["scores"]["long"]

    return asyncio.run(run())


def follow(model, holds, seconds=20):
    """Look until something holds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds
        model.follow()
        time.sleep(0.005)


def good(shift=0.0):
    return lambda: predictor(shift)


def test_it_serves_what_the_alias_points_to_and_follows_it(made):
    model = made({1: good(), 2: good(20)})
    assert ask(model) == (1, pytest.approx(expected("xxxx"), abs=1e-5))
    model.source.wants = 2
    follow(model, lambda: model.current.loaded.number == 2)
    assert ask(model) == (2, pytest.approx(expected("xxxx", 20), abs=1e-5))
    assert model.told()["version"] == "toy@2"


def test_going_back_takes_one_look_and_loads_nothing(made):
    model = made({1: good(), 2: good(20)})
    model.source.wants = 2
    follow(model, lambda: model.current.loaded.number == 2)
    model.source.wants = 1
    model.follow()
    assert ask(model)[0] == 1
    assert model.source.loads == [1, 2]


@pytest.mark.parametrize("kind", BAD)
def test_a_version_that_fails_never_answers_and_is_told(made, kind, caplog):
    bad, why = BAD[kind]
    model = made({1: good(), 2: bad})
    model.source.wants = 2
    with caplog.at_level(logging.ERROR, "danlu.serving.hosting"):
        follow(model, lambda: model.failure is not None)
    assert ask(model)[0] == 1
    assert why in model.told()["error"]["what"]
    assert model.told()["error"]["version"] == "toy@2"
    assert "toy@2 does not answer, toy@1 goes on" in caplog.text
    assert 'outcome="failed"} 1.0' in model._metrics.text().decode()
    model.source.wants = 1
    model.follow()
    assert model.told()["error"] is None


def test_routing_before_the_self_test_would_be_found(made, monkeypatch):
    """The planted fault: what is loaded takes over without having answered its sample."""
    monkeypatch.setattr(hosting, "self_test", lambda *loaded: None)
    model = made({1: good(), 2: changed})
    model.source.wants = 2
    follow(model, lambda: model.failure is not None or model.current.loaded.number == 2)
    assert ask(model)[0] == 2


def test_a_version_that_failed_is_tried_again_later_but_not_at_once(made, monkeypatch):
    tries = []

    def second():
        tries.append(1)
        return predictor(20) if len(tries) > 1 else refused()

    model = made({1: good(), 2: second})
    model.source.wants = 2
    follow(model, lambda: model.failure is not None)
    for _ in range(20):
        model.follow()
    assert len(tries) == 1
    monkeypatch.setattr(hosting, "_RETRY_SECONDS", 0.0)
    follow(model, lambda: model.current.loaded.number == 2)
    assert model.told()["error"] is None


def test_an_alias_that_moves_on_while_a_version_loads_wins(made):
    go = threading.Event()

    def second():
        go.wait(20)
        return predictor(20)

    model = made({1: good(), 2: second, 3: good(40)}, Limits())
    model.source.wants = 2
    model.follow()
    model.source.wants = 3
    follow(model, lambda: model.current.loaded.number == 3)
    go.set()
    model.follow()
    assert ask(model)[0] == 3


def test_requests_under_way_end_where_they_began(made):
    entered, go = threading.Event(), threading.Event()

    def before(inputs):
        if 7 in inputs["n"]:
            entered.set()
            assert go.wait(20)

    model = made({1: lambda: predictor(before=before), 2: good(20)})

    async def run():
        serving, job = model.submit(["x" * 7])
        await asyncio.to_thread(entered.wait, 20)
        model.source.wants = 2
        await asyncio.to_thread(follow, model, lambda: model.current.loaded.number == 2)
        assert ask_now(model)[0] is model.current
        go.set()
        return serving.loaded.number, (await job.future)[0]["scores"]["long"]

    def ask_now(model):
        return model.submit(["x"])

    assert asyncio.run(run()) == (1, pytest.approx(expected("x" * 7), abs=1e-5))


def test_only_two_versions_stay_loaded(made):
    model = made({n: good(n) for n in (1, 2, 3)})
    first = model.current
    for number in (2, 3):
        model.source.wants = number
        follow(model, lambda number=number: model.current.loaded.number == number)
    follow(model, lambda: first.batcher._closed)
    assert (model.current.loaded.number, model.previous.loaded.number) == (3, 2)


def test_a_registry_that_cannot_be_read_changes_nothing(made):
    model = made({1: good()})

    def gone():
        raise DataError("the registry is damaged")

    model.source.wants = gone
    model.follow()
    assert ask(model)[0] == 1
    assert "the registry is damaged" in model.told()["error"]["what"]
    model.source.wants = 1
    model.follow()
    assert model.told()["error"] is None


def test_a_first_version_that_fails_is_raised():
    with pytest.raises(DataError, match="SHA-256 differs"):
        Model(Versions({1: refused}), Limits(), Metrics())
    with pytest.raises(GateError, match="stored sample 0: its answer lies"):
        Model(Versions({1: changed}), Limits(), Metrics())


def test_the_sample_may_differ_by_the_tolerance_of_the_form():
    moved = replace(loaded(predictor(), 1), predictor=predictor(shift=0.3))
    with pytest.raises(GateError, match="from the one that was published"):
        self_test(moved)
    self_test(replace(moved, tolerance=0.05))


def test_the_watcher_follows_aliases_and_outlives_what_it_meets(made, monkeypatch):
    model, pinned = made({1: good(), 2: good(20)}), made({1: good()}, name="pinned", alias="")
    watcher, follow_once, broken = Watcher([model, pinned], 0.01), model.follow, []

    def follow(done):
        if not broken:
            broken.append(1)
            raise RuntimeError
        follow_once(done)

    monkeypatch.setattr(model, "follow", follow)
    watcher.start()
    model.source.wants = pinned.source.wants = 2
    began = time.monotonic()
    while model.current.loaded.number != 2 and time.monotonic() - began < 20:
        time.sleep(0.01)
    watcher.close()
    assert (model.current.loaded.number, pinned.current.loaded.number) == (2, 1)
