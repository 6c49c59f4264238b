"""The border between numpy and torch, and a module as a form."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from danlu.blocks.tensors import evaluating, to_numpy, to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Batch, Example
from danlu.core.errors import RecipeError
from danlu.plugins.runtimes.torch import Torch


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(3, 2), nn.Dropout(0.5)
        self.frozen = nn.Dropout(0.5).eval()

    def forward(self, x):
        assert torch.is_inference_mode_enabled()
        assert not self.training
        return {"logits": self.dropout(self.linear(x)), "note": "not a tensor", "half": x.to(torch.bfloat16)}


def test_a_form_answers_in_eval_mode_and_leaves_every_part_in_its_own() -> None:
    net = Net().train()
    net.frozen.eval()
    form = TorchForm(net)
    x = np.ones((4, 3), np.float32)
    outputs = form.forward({"x": x})
    assert outputs.keys() == {"logits", "half"}
    assert outputs["half"].dtype == np.float32
    assert np.array_equal(outputs["logits"], form.forward({"x": x})["logits"])
    assert (net.training, net.dropout.training, net.frozen.training) == (True, True, False)
    assert form.module is net


def test_a_fault_inside_leaves_the_modes_alone_too() -> None:
    net = Net().train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        TorchForm(net).forward({"x": np.ones((1, 7), np.float32)})
    assert net.training
    with pytest.raises(ZeroDivisionError, match="division"), evaluating(net):
        1 / 0  # noqa: B018
    assert net.training


def test_a_lower_precision_gives_float32_numbers_that_differ_a_little() -> None:
    torch.manual_seed(0)
    net = Net()
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    exact, lower = TorchForm(net).forward({"x": x}), TorchForm(net, autocast="bfloat16").forward({"x": x})
    assert lower["logits"].dtype == np.float32
    assert 0 < np.abs(exact["logits"] - lower["logits"]).max() < 0.1


def test_a_talk_goes_on_through_the_backbone() -> None:
    examples = [Example({"x": np.zeros(3)})]
    assert TorchForm(Net()).resume(examples) is None

    def resume(module: nn.Module, given: list) -> list:
        assert torch.is_inference_mode_enabled()
        return [({"logits": len(given)}, "state")]

    assert TorchForm(Net(), SimpleNamespace(resume=resume)).resume(examples) == [({"logits": 1}, "state")]
    assert Backbone.resume(None, None, examples) is None


def test_a_batch_to_torch_and_outputs_back() -> None:
    batch = Batch({"x": np.arange(6).reshape(2, 3)[:, ::-1]}, {"y": np.ones(2)}, np.ones(2, np.float32))
    moved = to_torch(batch)
    assert (moved.inputs["x"].dtype, moved.targets["y"].dtype, len(moved)) == (torch.int64, torch.float64, 2)
    assert moved.inputs["x"].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert to_numpy({"a": torch.ones(2, requires_grad=True), "b": None}).keys() == {"a"}


def test_a_torch_form_is_not_exported(tmp_path) -> None:
    with pytest.raises(RecipeError, match="it is the trained model itself"):
        Torch().export(Net(), [], tmp_path)
