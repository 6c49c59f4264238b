"""The range test, and a training that diverges."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from training_toys import Counting, LookAfter, Tagger, Tagging, examples, job, listen, loss_of, weights_sha256

from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.training import guards, rates
from danlu.training.loop import fit

HELD = examples(Tagging(), 20, skip=40)


class Stop(Exception):
    """A power cut, as seen from inside."""


def cut(run):
    if run.step == 4:
        raise Stop


def test_the_rate_that_is_found_learns(tmp_path):
    one, low = job(lr="find", steps=60), job(lr=rates.LOWEST * 100, steps=60)
    events, heard = listen(Events)
    one.events = events
    numbers = fit(one).numbers
    fit(low)
    rate = numbers["lr"]["highest"]
    assert 1e-3 < rate <= 0.1
    assert loss_of(one.module, Tagging(), HELD) < loss_of(low.module, Tagging(), HELD) / 2
    curve = numbers["lr"]["range_test"]
    assert [point[0] for point in curve] == sorted(point[0] for point in curve)
    assert rate == pytest.approx(min(curve, key=lambda point: point[1])[0] / 10, rel=0.06)
    assert any("range test: the loss is lowest" in event.data.get("text", "") for event in heard)
    json.dumps(numbers)


def test_the_test_leaves_no_trace_in_the_training():
    found = job(lr="find")
    rate = fit(found).numbers["lr"]["highest"]
    named = job(lr=rate)
    fit(named)
    assert weights_sha256(found.module) == weights_sha256(named.module)


def test_a_resume_takes_the_rate_from_the_checkpoint(tmp_path, monkeypatch):
    def trained(stop=False):
        look = LookAfter(cut if stop else lambda run: None)
        one = job(module=Tagger(), lr="find", steps=8, checkpoint_steps=1, work=tmp_path, techniques=(look,))
        return fit(one), one

    real, asked = rates.find, []
    monkeypatch.setattr(rates, "find", lambda one, *more: asked.append(1) or real(replace(one, techniques=()), *more))
    with pytest.raises(Stop):
        trained(stop=True)
    fitted, resumed = trained()
    assert (fitted.resumed_at, asked) == (4, [1])
    whole = job(module=Tagger(), lr="find", steps=8, techniques=(LookAfter(lambda run: None),))
    assert fit(whole).numbers["lr"] == fitted.numbers["lr"]
    assert weights_sha256(whole.module) == weights_sha256(resumed.module)


def test_a_loss_that_never_falls_is_told():
    class Fixed(Tagging):
        def loss(self, outputs, batch):
            return super().loss(outputs, batch) * 0 + 1.0

    with pytest.raises(RecipeError, match="the loss falls at none of them"):
        fit(job(Fixed(), lr="find"))


def test_a_model_that_counts_needs_no_rate():
    assert fit(job(module=Counting(), lr="find", epochs=1, steps=None)).steps == 5


def test_smoothing_keeps_a_line_and_calms_a_jump():
    assert rates.smoothed([(1, 2.0), (2, 2.0), (3, 2.0)]) == [(k, pytest.approx(2.0)) for k in (1, 2, 3)]
    assert rates.smoothed([(1, 1.0), (2, 1.0), (3, 11.0)])[2][1] < 6


def test_a_rate_that_diverges_stops_names_the_step_and_keeps_the_best(tmp_path):
    options = {"optimizer": "sgd", "clip": None, "schedule": "constant", "warmup": 0.9, "steps": 400}
    one = job(lr=60.0, validation=HELD, evaluate_every=2, work=tmp_path, **options)
    start = loss_of(Tagger(), Tagging(), HELD)
    with pytest.raises(
        RecipeError, match=r"(?s)at step \d+ of 400.*lr=.*best weights so far, of step \d+, are in"
    ) as told:
        fit(one)
    path = tmp_path / "best.safetensors"
    assert str(path) in str(told.value)
    kept = Tagger()
    kept.load_state_dict(load_file(path))
    assert torch.isfinite(kept.head.weight).all()
    assert loss_of(kept, Tagging(), HELD) <= start * 1.5
    assert [left.name for left in tmp_path.glob(".tmp-*")] == []


def test_losses_far_above_the_first_are_told_and_others_are_not():
    first = [0.5] * 10
    guards.check_near(first, [9.9] * 10, step=50, steps=90, lr=1.0)
    guards.check_near(first, [99.0] * 9, step=50, steps=90, lr=1.0)
    guards.check_near([-1.0], [99.0] * 10, step=50, steps=90, lr=1.0)
    with pytest.raises(guards.DivergedError, match=r"(?s)diverges: at step 50 of 90 .* 11, and was 0.5.*lr=0.1"):
        guards.check_near(first, [11.0] * 10, step=50, steps=90, lr=1.0)
