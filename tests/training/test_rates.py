"""The range test, and a training that diverges."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from training_toys import Counting, LookAfter, Tagger, Tagging, examples, job, listen, loss_of, weights_sha256

from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.plugins.backbones.llama import Llama
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.testing.partners import Trial
from danlu.training import guards, rates
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.pulse import Pulse
from danlu.training.settings import TrainSettings

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


def heard(losses, steps=None):
    """A pulse that has read these losses, one a step."""
    pulse = Pulse(Events(), steps or len(losses), torch.device("cpu"))
    for step, loss in enumerate(losses):
        pulse.hear(step, "model", 0.01, loss=torch.tensor(loss), norm=None)
        pulse.read()
    return pulse


LEARNT = [9.2 - 5.0 * min(1.0, k / 200) for k in range(400)]


def test_losses_that_climb_back_above_the_start_end_the_training():
    climb = [4.2 + 8.0 * min(1.0, k / 100) for k in range(1600)]
    with pytest.raises(guards.DivergedError, match=r"at step \d+ of 2000 losses are near 12.2") as told:
        heard(LEARNT + climb)
    step = int(str(told.value).split("at step ")[1].split()[0])
    assert 400 + 85 + guards.patience(2000) <= step <= 400 + 100 + guards.patience(2000) + guards.WINDOW
    assert "above those of the start (learning rate 0.01)" in str(told.value)
    assert "lr=0.001" in str(told.value)


@pytest.mark.parametrize(
    "losses",
    [
        LEARNT + [14.0] * (guards.patience(2000) - 10) + [5.0] * 1500,  # a bump that passes
        LEARNT + [300.0 if k % 3 == 0 else 4.0 for k in range(1000)],  # batches that are far off, and others
        LEARNT + [8.5] * 1600,  # as bad as untrained, and no worse
        [0.03] * 20 + [0.5] * 1980,  # a small loss may be some times larger
        [-3.0] * 20 + [5.0] * 1980,  # a loss of another kind
    ],
    ids=["bump", "spikes", "plateau", "small", "negative"],
)
def test_losses_that_do_not_diverge_go_on(losses):
    heard(losses, steps=2000)


def test_noise_of_small_batches_is_not_taken_for_divergence():
    for seed in range(30):
        draw = random.Random(seed)
        heard([draw.expovariate(1 / 5) for _ in range(400)])


def test_the_climb_is_remembered_by_a_checkpoint():
    before = heard([*LEARNT, *[14.0] * 30], steps=600)
    after = Pulse(Events(), 600, torch.device("cpu"))
    after.restore(json.loads(json.dumps(before.notes())))
    assert after.notes()["over"] == before.notes()["over"] > 20


def test_a_language_model_that_diverges_stops_and_keeps_the_best(tmp_path):
    trial = Trial.of(CausalLm(length=32), Llama(size="tiny", positions=32))
    train = [example for row in trial.rows for example in trial.task.examples(row, trial.processor)]
    asked = {"steps": 300, "lr": 0.5, "warmup": 0.9, "schedule": "constant", "clip": None, "batch_size": 4}
    settings = TrainSettings(precision="fp32", evaluate_every=10, **asked)
    one = Job(
        trial.module, trial.task, trial.processor, train, train[:8], settings=settings, backbone=trial.backbone,
        work=tmp_path,
    )  # fmt: skip
    with pytest.raises(
        guards.DivergedError, match=r"(?s)diverges: at step \d+ of 300 .*above those of the start"
    ) as told:
        fit(one)
    assert str(tmp_path / "best.safetensors") in str(told.value)
    best = int(str(told.value).split("best weights so far, of step ")[1].split(",")[0])
    assert best < int(str(told.value).split("at step ")[1].split()[0])
    assert "embed_tokens" in " ".join(load_file(tmp_path / "best.safetensors"))
