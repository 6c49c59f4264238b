"""Interrupted = uninterrupted, bit for bit, through files, with foreign random draws between; and each planted fault
is caught."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import (
    DP,
    EMA,
    EWC,
    FGM,
    Adversaries,
    BesideTagging,
    Counting,
    Look,
    LookAfter,
    NoisyTagging,
    OnlyHead,
    Pair,
    Tagger,
    Tagging,
    examples,
    job,
    listen,
    weights_sha256,
)

from danlu.contracts import Technique
from danlu.core.errors import MachineError, RecipeError
from danlu.core.events import Events
from danlu.training import checkpoint, loop, run
from danlu.training.beside import models_beside
from danlu.training.loop import fit


class Stop(Exception):
    """A power cut, as seen from inside."""


def cut(at):
    def see(run):
        if run.step == at:
            raise Stop

    return LookAfter(see)


def nothing(run):
    pass


def build(kind, techniques, stop=None, **options):
    """A job of eight steps with two looks at the validation set; `stop` is the step in which the power is cut."""
    task, module = {
        "noisy": lambda: (NoisyTagging(), Tagger()),
        "beside": lambda: (BesideTagging(), Tagger()),
        "turns": lambda: (Adversaries(), Pair()),
        "counts": lambda: (Tagging(), Counting()),
        "head": lambda: (Tagging(), OnlyHead().wrap(Tagger())),
    }[kind]()
    last = LookAfter(nothing) if stop is None else cut(stop)
    held = examples(Tagging(), 5)
    defaults = {"steps": 8, "epochs": 9, "checkpoint_steps": 1, "evaluate_every": 3, "accumulate": 2, "batch_size": 3}
    settings = defaults | options
    return job(task, module, n=20, validation=held, techniques=(*techniques, last), **settings)


def interrupted_at(folder, stop, *what, **options) -> str:
    """SHA-256 after a training that was cut in a step, and gone on with in a new job."""
    with pytest.raises(Stop):
        fit(build(*what, stop=stop, work=folder, **options))
    torch.rand(5), np.random.rand(5)
    again = build(*what, work=folder, **options)
    fitted = fit(again)
    assert fitted.resumed_at == (stop or None)
    return weights_sha256(again.module)


def uninterrupted(*what, **options) -> str:
    whole = build(*what, **options)
    fit(whole)
    return weights_sha256(whole.module)


KINDS = {
    "plain": ("noisy", ()),
    "reference": ("beside", ()),
    "turns": ("turns", ()),
    "counts": ("counts", ()),
    "part": ("head", ()),
    "fgm": ("noisy", (FGM(),)),
    "ema": ("noisy", (EMA(),)),
    "ewc": ("noisy", (EWC(),)),
    "dp": ("noisy", (DP(),)),
    "fgm+ema": ("noisy", (FGM(), EMA())),
    "ewc+ema": ("noisy", (EWC(), EMA())),
    "fgm+ewc": ("noisy", (FGM(), EWC())),
    "dp+ema": ("noisy", (DP(), EMA())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_equals_uninterrupted(tmp_path, kind):
    assert interrupted_at(tmp_path, 5, *KINDS[kind]) == uninterrupted(*KINDS[kind])


@pytest.mark.parametrize("stop", range(8))
def test_at_every_step(tmp_path, stop):
    """Steps 3 and 6 lie just behind a look at the validation set."""
    what = ("noisy", (EMA(),))
    assert interrupted_at(tmp_path, stop, *what) == uninterrupted(*what)


def test_with_checkpoints_far_apart(tmp_path):
    what = ("noisy", (EMA(),))
    with pytest.raises(Stop):
        fit(build(*what, stop=6, work=tmp_path, checkpoint_steps=4))
    again = build(*what, work=tmp_path, checkpoint_steps=4)
    assert fit(again).resumed_at == 4
    assert weights_sha256(again.module) == uninterrupted(*what, checkpoint_steps=4)


def test_the_best_weights_and_the_patience_survive(tmp_path):
    options = {"evaluate_every": 1, "patience": 2, "lr": 0.5}
    whole = build("noisy", (), **options)
    first = fit(whole)
    assert 3 < first.steps < 8, "the test wants a training that stops early"
    sha256 = interrupted_at(tmp_path, first.steps - 1, "noisy", (), **options)
    assert sha256 == weights_sha256(whole.module)


def test_numbers_survive(tmp_path):
    whole = fit(build("noisy", ()))
    with pytest.raises(Stop):
        fit(build("noisy", (), stop=5, work=tmp_path))
    resumed = fit(build("noisy", (), work=tmp_path))
    for key in ("loss", "validation", "steps", "epochs"):
        assert resumed.numbers[key] == whole.numbers[key]


def test_the_precision_of_the_checkpoint_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "decide", lambda wanted, device: "bf16")
    with pytest.raises(Stop):
        fit(build("noisy", (), stop=5, work=tmp_path, precision="auto"))
    monkeypatch.setattr(loop, "decide", lambda wanted, device: "fp32")
    assert fit(build("noisy", (), work=tmp_path, precision="auto")).numbers["precision"] == "bf16"


def test_start_sees_what_a_checkpoint_brings_and_does_not_change_it(tmp_path):
    """EWC's anchor must be the weights of the first start; its Fisher could be skipped in the second."""
    seen = []

    class Costly(EWC):
        def start(self, run):
            seen.append(dict(run.kept(self)))
            super().start(run)
            run.kept(self)["anchor"]["head.weight"].zero_()

    with pytest.raises(Stop):
        fit(build("noisy", (Costly(),), stop=5, work=tmp_path))
    again = build(
        "noisy", (Costly(), Look(lambda run: seen.append(run.kept(run.techniques[0])["starts"]))), work=tmp_path
    )
    with pytest.raises(RecipeError, match="another training"):
        fit(again)
    again = build("noisy", (Costly(),), work=tmp_path)
    fit(again)
    assert seen[0] == {}
    assert seen[-1]["starts"] == 1
    assert weights_sha256(again.module) == uninterrupted("noisy", (Costly(),))


def test_a_checkpoint_of_other_settings_or_data_is_refused(tmp_path):
    with pytest.raises(Stop):
        fit(build("noisy", (), stop=5, work=tmp_path))
    for other in ({"lr": 0.02}, {"seed": 1}):
        with pytest.raises(RecipeError, match=r"(?s)it holds checkpoints of another training.*rm -r"):
            fit(build("noisy", (), work=tmp_path, **other))
    shorter = build("noisy", (), work=tmp_path)
    shorter.train = shorter.train[:-1]
    with pytest.raises(RecipeError, match="another training"):
        fit(shorter)


def test_another_thread_count_is_told(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        fit(build("noisy", (), stop=5, work=tmp_path))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    events, heard = listen(Events)
    fit(build("noisy", (), work=tmp_path, events=events))
    warnings = [event.data["text"] for event in heard if event.kind == "warning"]
    assert len(warnings) == 1
    assert "this is cpu, 64 threads" in warnings[0]


def test_a_full_disk_is_a_warning_and_the_training_goes_on(tmp_path, monkeypatch):
    real, calls = checkpoint._write_tensors, []

    def full_in_the_middle(path, tensors):
        calls.append(path)
        if 4 <= len(calls) <= 9:
            raise OSError(28, "No space left on device")
        return real(path, tensors)

    monkeypatch.setattr(checkpoint, "_write_tensors", full_in_the_middle)
    events, heard = listen(Events)
    one = build("noisy", (), work=tmp_path, events=events)
    fit(one)
    warnings = [event.data["text"] for event in heard if event.kind == "warning"]
    assert (
        "no checkpoint of step 2, so a kill would lose what was learnt since step 1; the training goes on"
        in warnings[0]
    )
    assert "No space left on device" in warnings[0]
    assert weights_sha256(one.module) == uninterrupted("noisy", ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000001", "step-0000000008"]


# ---- real kills: the short form of the benchmark, in a process of its own -------------------------------------------------

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "resume_exact.py"


def test_killed_in_every_step_and_while_saving(tmp_path):
    found = tmp_path / "found.json"
    command = [sys.executable, BENCHMARK, "--steps", "4", "--saves", "6", "--json", found]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(found.read_text())
    assert result["resume"] == {"steps": 4, "ranks": 1, "equal": 4, "different": []}
    assert (result["saves"]["kills"], result["saves"]["lost"], result["saves"]["damaged"]) == (6, [], 0)


@pytest.mark.parametrize(
    "fault",
    ["rename", pytest.param("reseed", marks=pytest.mark.proof), pytest.param("copy", marks=pytest.mark.proof)],
)
def test_the_benchmark_catches_planted_faults(fault):
    command = [sys.executable, BENCHMARK, "--steps", "2", "--saves", "4", "--plant", fault]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "one killed in each of 2 steps" in done.stdout


# ---- planted faults: each must be caught by the comparison -----------------------------------------------------------


def forget_kept(monkeypatch):
    monkeypatch.setattr(run.Run, "recall", lambda self, saved: None)


def forget_optimizer(monkeypatch):
    monkeypatch.setattr(run.optim, "restore", lambda *_: None)


def forget_to_reseed(monkeypatch):
    monkeypatch.setattr(loop, "reseed", lambda *_: None)


def forget_best(monkeypatch):
    monkeypatch.setattr(run.Watch, "restore", lambda self, looks, weights: None)


def forget_place_in_the_order(monkeypatch):
    real = run.Feed.chosen
    begun = {}
    monkeypatch.setattr(run.Feed, "chosen", lambda self, step: real(self, step - begun.setdefault(id(self), step)))


def reference_after_restore(monkeypatch):
    real = run.Run.restore

    def restore(self, saved):
        real(self, saved)
        self.beside = models_beside(self.job, self.model)

    monkeypatch.setattr(run.Run, "restore", restore)


@pytest.mark.parametrize(
    ("fault", "what", "options"),
    [
        (forget_kept, ("noisy", (EMA(),)), {}),
        (forget_optimizer, ("noisy", ()), {}),
        (forget_to_reseed, ("noisy", ()), {}),
        (forget_best, ("noisy", ()), {"lr": 0.5, "evaluate_every": 1}),
        (forget_place_in_the_order, ("noisy", ()), {}),
        (reference_after_restore, ("beside", ()), {}),
    ],
)
def test_a_planted_fault_is_caught(tmp_path, monkeypatch, fault, what, options):
    torch.manual_seed(0)
    np.random.seed(0)
    right = uninterrupted(*what, **options)
    fault(monkeypatch)
    assert interrupted_at(tmp_path, 5, *what, **options) != right


def test_a_technique_that_keeps_what_is_not_data_is_told_at_the_first_checkpoint(tmp_path):
    class Wrong(Technique):
        def start(self, run):
            run.kept(self)["hook"] = print

    with pytest.raises(TypeError, match="a technique keeps tensors, JSON values, dicts and lists"):
        fit(job(techniques=(Wrong(),), work=tmp_path, checkpoint_steps=1))


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((MachineError, NotADirectoryError)):
        fit(job(work=tmp_path / "file" / "below"))
