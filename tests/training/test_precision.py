"""bf16 or fp32: measured once, kept, and used again."""

import json

import pytest
import torch
from training_toys import Tagger, job

from danlu.core.digests import cache_dir
from danlu.training import precision
from danlu.training.loop import fit
from danlu.training.precision import autocast, decide

CPU = torch.device("cpu")


def test_what_is_asked_for_is_not_measured(monkeypatch):
    monkeypatch.setattr(precision, "speedup", lambda device: pytest.fail("measured"))
    assert decide("fp32", CPU) == "fp32"
    assert decide("bf16", CPU) == "bf16"


@pytest.mark.parametrize(("ratio", "chosen"), [(3.0, "bf16"), (1.05, "fp32"), (0.1, "fp32")])
def test_auto_measures_once_and_keeps_what_it_found(monkeypatch, ratio, chosen):
    measured = []
    monkeypatch.setattr(precision, "speedup", lambda device: measured.append(device) or ratio)
    assert [decide("auto", CPU) for _ in range(3)] == [chosen] * 3
    assert measured == [CPU]
    kept = json.loads((cache_dir() / "precision.json").read_text())
    assert list(kept.values()) == [ratio]
    assert torch.__version__ in next(iter(kept))


def test_another_thread_count_is_measured_anew(monkeypatch):
    measured = []
    monkeypatch.setattr(precision, "speedup", lambda device: measured.append(device) or 2.0)
    decide("auto", CPU)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    decide("auto", CPU)
    assert len(measured) == 2


@pytest.mark.parametrize("content", ["{", '["x"]', '{"a": "b"}'])
def test_a_damaged_note_is_measured_anew(monkeypatch, content):
    cache_dir().mkdir(parents=True)
    (cache_dir() / "precision.json").write_text(content)
    monkeypatch.setattr(precision, "speedup", lambda device: 2.0)
    assert decide("auto", CPU) == "bf16"


def test_a_cache_that_cannot_be_written_is_no_fault(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(precision, "speedup", lambda device: 2.0)
    assert decide("auto", CPU) == "bf16"


def test_the_measurement_gives_a_ratio():
    assert precision.speedup(CPU) > 0


def test_autocast_narrows_the_pass_and_leaves_the_weights():
    layer = torch.nn.Linear(4, 4)
    with autocast("bf16", CPU):
        assert layer(torch.zeros(1, 4)).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert layer(torch.zeros(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_bf16_trains_too():
    module = Tagger()
    fitted = fit(job(module=module, precision="bf16", steps=40, n=60))
    assert fitted.numbers["precision"] == "bf16"
    assert fitted.numbers["loss"][-1][1] < 0.8 * fitted.numbers["loss"][0][1]
    assert module.head.weight.dtype == torch.float32
