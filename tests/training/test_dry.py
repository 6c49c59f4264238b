"""The step that tells how long it will take, and changes nothing."""

import pytest
import torch
from training_toys import Counting, NoisyTagging, Tagging, examples, job, listen, weights_sha256

from danlu.core.events import Events
from danlu.training import dry
from danlu.training.loop import fit
from danlu.training.run import Run


def test_it_is_told_before_the_first_step():
    events, heard = listen(Events)
    told = fit(job(events=events, steps=25)).numbers
    said = [k for k, event in enumerate(heard) if "on this machine: 25 steps" in event.data.get("text", "")]
    steps = [k for k, event in enumerate(heard) if event.kind == "progress"]
    assert len(said) == 1
    assert said[0] < steps[0]
    assert "MB of memory" in heard[said[0]].data["text"]
    assert told["seconds_expected"] > 0


def test_looks_at_the_validation_rows_are_part_of_it(monkeypatch):
    monkeypatch.setattr(dry, "seconds", lambda run: 2.0)
    one = job(steps=40, evaluate_every=10, validation=examples(Tagging(), 10, skip=30))
    assert dry.tell(Run(job(steps=40), "fp32")).seconds == 80
    run = Run(one, "fp32")
    assert dry.tell(run).seconds == pytest.approx(80 + 4 * 2 / 3 * len(one.validation) / run.expected)
    assert dry.tell(Run(job(steps=40), "fp32"), done=20).seconds == 40


@pytest.mark.parametrize("one", [{"steps": 19}, {"module": Counting(), "epochs": 30.0}])
def test_short_trainings_and_models_that_count_are_not_timed(one):
    assert dry.tell(Run(job(**one), "fp32")).seconds is None


def test_it_leaves_no_trace():
    run = Run(job(NoisyTagging(), steps=30), "fp32")
    before, state = weights_sha256(run.model), torch.get_rng_state()
    assert dry.seconds(run) > 0
    assert weights_sha256(run.model) == before
    assert all(w.grad is None for w in run.model.parameters())
    assert run.model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_a_training_is_the_same_with_and_without_it(monkeypatch):
    one, other = job(NoisyTagging(), steps=30), job(NoisyTagging(), steps=30)
    fit(one)
    monkeypatch.setattr(dry, "_LEAST", 1000)
    fit(other)
    assert weights_sha256(one.module) == weights_sha256(other.module)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.171, "0.17 s"), (40, "40 seconds"), (540, "9 minutes"), (9000, "2.5 hours")]
)
def test_times_as_people_say_them(seconds, said):
    assert dry.spoken(seconds) == said
