"""What TensorBoard reads back of a run."""

from __future__ import annotations

import sys

import pytest

import danlu
from danlu.core import plugin
from danlu.core.errors import MachineError
from danlu.core.events import Event
from danlu.plugins.trackers.tensorboard import TensorBoard


def conforming(folder):
    return {"tensorboard": {"folder": str(folder / "runs")}}


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = folder.iterdir()
    events = EventAccumulator(str(path))
    events.Reload()
    return path, {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_run_is_read_back(tmp_path):
    steps = {
        "data": {"do": "prepare", "source": {"synthetic": {"size": 200}}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": "tfidf_lr"},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
    }
    tracker = {"tensorboard": str(tmp_path / "runs")}
    done = danlu.run({"name": "try", "steps": steps}, store=tmp_path / "store", trackers=[tracker])
    path, curves = read(tmp_path / "runs")
    assert path.name.startswith("try-2")
    assert curves["score/result/accuracy"] == [(0, pytest.approx(done["score"].numbers["accuracy"]))]
    assert curves["data/result/rows_read"] == [(0, 200)]


def test_curves_keep_their_steps_and_only_finite_numbers(tmp_path):
    tracker = TensorBoard(folder=str(tmp_path))
    tracker.on(Event(1e9, "", "run_started", {"id": "7", "name": "", "store": "", "steps": {}}))
    for step, loss in ((10, 0.5), (20, 0.25), (30, float("nan"))):
        tracker.on(
            Event(1e9 + step, "tuned", "numbers", {"step": step, "loss": loss, "word": "x", "in": {"lr": 0.125}})
        )
    tracker.close()
    path, curves = read(tmp_path)
    assert path.name == "run-7"
    assert curves == {"tuned/loss": [(10, 0.5), (20, 0.25)], "tuned/in/lr": [(10, 0.125), (20, 0.125), (30, 0.125)]}


def test_without_tensorboard_the_run_does_not_start(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MachineError, match=r"is not installed\n.*pip install 'danlu\[tensorboard\]'"):
        TensorBoard()
    assert plugin.find("trackers", "tensorboard").extra == "tensorboard"
