"""Which weights of a model are drawn, how wide, and which stay."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from danlu.blocks.initialise import initialise
from danlu.contracts import Initialiser
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.bert import Bert
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.partners import Trial


def started(init=None, seed=0):
    backbone = Bert(init=init, tokenizer={"wordpiece": 50})
    return Trial.of(TextClassification(), backbone, seed=seed).module.state_dict()


def test_without_one_the_family_draws():
    plain, again = started(), started()
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert plain["bert.encoder.layer.0.output.dense.weight"].std().item() == pytest.approx(0.02, rel=0.02)


def test_every_matrix_is_drawn_and_nothing_else():
    plain, other = started(), started({"normal": {"std": 0.3}})
    for name, weight in other.items():
        if weight.ndim >= 2:
            assert weight.std().item() == pytest.approx(0.3, rel=0.2), name
        else:
            assert torch.equal(weight, plain[name]), name
    assert not other["bert.embeddings.word_embeddings.weight"][0].any()  # padding


def test_the_seed_of_torch_decides():
    one, same, other = started("he"), started("he"), started("he", seed=1)
    name = "bert.encoder.layer.1.attention.self.query.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


def test_layers_that_add_are_drawn_narrower():
    drawn = started({"normal": {"std": 0.1, "residual": True}})
    narrow = 0.1 / math.sqrt(4)  # two layers, two sums each
    for name in ("attention.output.dense", "output.dense"):
        assert drawn[f"bert.encoder.layer.0.{name}.weight"].std().item() == pytest.approx(narrow, rel=0.03)
    for name in ("attention.self.query", "intermediate.dense"):
        assert drawn[f"bert.encoder.layer.0.{name}.weight"].std().item() == pytest.approx(0.1, rel=0.03)


def test_a_model_that_adds_nothing_is_told():
    with pytest.raises(RecipeError, match="no layers whose output is added"):
        initialise(nn.Linear(3, 3), Initialiser.choose({"he": {"residual": True}}))
