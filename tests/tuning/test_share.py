"""How many candidates train at once on a machine of these cores and this memory."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import danlu
from danlu.core import machine
from danlu.tuning import search, share, space


@dataclass(frozen=True)
class Step:
    backbone: object = "mlp"
    device: str = "auto"

    def space(self):
        data = {"do": "prepare", "source": "digits", "task": "image_classification"}
        tuned = {"do": "finetune", "backbone": self.backbone, "device": self.device}
        return space.of(space.Ask(danlu.check({"name": "d", "steps": {"data": data, "tuned": tuned}})))


@pytest.fixture
def having(monkeypatch):
    """A machine of so many physical cores and GB."""

    def having(cores, gigabytes, gpu=False):
        monkeypatch.setattr(machine, "physical_cores", lambda: cores)
        monkeypatch.setattr(machine, "available_memory", lambda: int(gigabytes * 1e9))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    return having


@pytest.mark.parametrize(
    ("cores", "gigabytes", "trials", "jobs", "why"),
    [
        (1, 64, None, 1, "one candidate trains at a time: 1 physical core and 64.0 GB free, a job wants 2 and 1.5 GB"),
        (2, 64, None, 1, "one candidate trains at a time: 2 physical cores and"),
        (4, 64, None, 2, "2 candidates train at once: 4 physical cores and 64.0 GB free, a job wants 2 and 1.5 GB; --"),
        (16, 64, None, 8, "8 candidates train at once"),
        (16, 5, None, 3, "3 candidates train at once"),
        (16, 0.5, None, 1, "one candidate trains at a time: 16 physical cores and 0.5 GB free"),
        (16, 64, 5, 5, "no more train at once than there are to try, 5"),
        (2, 64, 1, 1, "one candidate trains at a time"),
    ],
)
def test_jobs_follow_cores_and_memory(having, cores, gigabytes, trials, jobs, why):
    having(cores, gigabytes)
    found = share.suited(Step().space(), trials)
    assert found[0] == jobs
    assert found[1].startswith(why)
    assert "--jobs" in found[1]
    assert "\n" not in found[1]


def test_on_a_gpu_one_trains_at_a_time(having):
    having(16, 64, gpu=True)
    assert share.suited(Step().space()) == (
        1, "one candidate trains at a time: all would share the GPU; --jobs N trains N at once",
    )  # fmt: skip
    assert share.suited(Step(device="cpu").space())[0] == 8


def test_large_weights_want_more_memory_a_job(having, tmp_path, monkeypatch):
    having(8, 16)
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    backbone = danlu.core.plugin.load("backbones", "mlp")
    monkeypatch.setattr(backbone, "folder", lambda self: tmp_path)
    monkeypatch.setattr(share, "_TIMES", 5e6)  # as if the file had 0.6 GB
    assert share.suited(Step().space())[0] == 2


def test_the_choice_is_told_in_a_line(having, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    having(8, 64)
    said, tuned = [], []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search.Jobs, "candidates", lambda self, most: tuned.append(self.count))
    data = {"do": "prepare", "source": "digits", "task": "image_classification"}
    steps = {"data": data, "tuned": {"do": "finetune", "backbone": "mlp", "steps": 2}}
    told = [lambda event: event.kind == "note" and said.append(event.data["text"])]
    for jobs, count in ((None, 4), (2, 2)):
        with pytest.raises(danlu.core.errors.RecipeError, match="no time was left"):
            danlu.tune({"name": "d", "steps": steps}, jobs=jobs, store=tmp_path / "s", listeners=told)
        assert tuned.pop() == count
    assert [text for text in said if "--jobs" in text] == [
        "4 candidates train at once: 8 physical cores and 64.0 GB free, a job wants 2 and 1.5 GB; --jobs 1 trains one "
        "after another"
    ]
