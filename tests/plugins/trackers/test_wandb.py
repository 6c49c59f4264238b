"""What Weights & Biases is given of a run; a stand-in takes its place."""

import sys

import pytest

from danlu.core import plugin
from danlu.core.errors import MachineError
from danlu.core.events import Event
from danlu.plugins.trackers.wandb import Wandb


class StandIn:
    """As much of `wandb` 0.31 as the tracker asks of it."""

    def __init__(self):
        self.began, self.logged, self.summary, self.axes, self.finished = [], [], {}, {}, 0
        self.Settings = lambda **options: options

    def init(self, **options):
        self.began.append(options)
        return self

    def define_metric(self, name, step_metric):
        self.axes[name] = step_metric

    def log(self, numbers):
        self.logged.append(numbers)

    def finish(self):
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    module = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", module)
    plugin_module = sys.modules["danlu.plugins.trackers.wandb"]
    monkeypatch.setattr(plugin_module, "_wandb", plugin.lazy("wandb", extra="wandb"))
    return module


def conforming(folder):
    return {"wandb": {"folder": str(folder)}}


def test_a_run_is_kept_offline(wandb, tmp_path):
    tracker = Wandb(folder=str(tmp_path / "new"))
    tracker.on(Event(1.0, "", "run_started", {"id": "7", "name": "try", "store": "", "steps": {}}))
    tracker.on(Event(2.0, "tuned", "numbers", {"step": 10, "loss": 0.5, "lr": float("nan"), "word": "x"}))
    tracker.on(Event(3.0, "tuned", "step_done", {"numbers": {"mfu": 0.5, "in": {"best": 1}}, "seconds": 2.0}))
    tracker.close()
    tracker.close()
    [began] = wandb.began
    assert (began["mode"], began["name"], began["dir"]) == ("offline", "try-7", str(tmp_path / "new"))
    assert (tmp_path / "new").is_dir()
    assert wandb.axes == {"tuned/*": "tuned/step"}
    assert wandb.logged == [{"tuned/loss": 0.5, "tuned/step": 10}]
    assert wandb.summary == {"tuned/result/mfu": 0.5, "tuned/result/in/best": 1.0, "tuned/result/seconds": 2.0}
    assert wandb.finished == 1


def test_without_wandb_the_run_does_not_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(sys.modules["danlu.plugins.trackers.wandb"], "_wandb", plugin.lazy("wandb", extra="wandb"))
    with pytest.raises(MachineError, match=r"is not installed\n.*pip install 'danlu\[wandb\]'"):
        Wandb()
    assert plugin.find("trackers", "wandb").extra == "wandb"
