"""Which weights decay, which are hidden matrices, and the rate of each layer."""

import pytest
from torch import nn
from training_toys import Tagger

from danlu.core.errors import RecipeError
from danlu.training.groups import groups


def told(model, what, **options):
    """`what` of every weight's group, by the weight's name."""
    weights = dict(model.named_parameters())
    found = groups(model, weights, lr=0.5, weight_decay=0.1, **options)
    by_id = {id(w): group[what] for group in found for w in group["params"]}
    assert len(by_id) == sum(len(group["params"]) for group in found) == len(weights)
    return {name: by_id[id(w)] for name, w in weights.items()}


class Stacked(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(3))
        self.late = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 2)


def test_biases_and_norms_do_not_decay():
    decay = told(Tagger(), "weight_decay")
    assert {name for name, value in decay.items() if value} == {"embed.weight", "hidden.weight", "head.weight"}
    assert set(decay.values()) == {0.0, 0.1}


def test_a_norm_and_a_bias_of_two_axes_do_not_decay_either():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.line = nn.LayerNorm((3, 4)), nn.Linear(4, 4)
            self.relative_bias_table = nn.Parameter(self.line.weight.detach().clone())

    assert {name for name, value in told(Odd(), "weight_decay").items() if value} == {"line.weight"}


def test_hidden_matrices_are_neither_embeddings_nor_the_head():
    assert [name for name, value in told(Tagger(), "matrix").items() if value] == ["hidden.weight"]
    matrices = [name for name, value in told(Stacked(), "matrix").items() if value]
    assert matrices == [f"layers.{k}.0.weight" for k in range(3)]


def test_a_head_that_shares_the_embeddings_weight_is_no_matrix():
    model = Stacked()
    model.head = nn.Linear(4, 9, bias=False)
    model.head.weight = model.embed.weight
    assert [name for name, value in told(model, "matrix").items() if value] == [
        f"layers.{k}.0.weight" for k in range(3)
    ]


def test_rates_fall_layer_by_layer_towards_the_embeddings():
    model = Stacked()
    scale = told(model, "scale", layer_decay=0.5, embeddings=[model.late])
    assert {name.rpartition(".")[0]: value for name, value in scale.items()} == {
        "embed": 0.0625,
        "layers.0.0": 0.125,
        "layers.0.1": 0.125,
        "layers.1.0": 0.25,
        "layers.1.1": 0.25,
        "layers.2.0": 0.5,
        "layers.2.1": 0.5,
        "late": 0.0625,
        "head": 1.0,
    }
    assert told(model, "lr", layer_decay=0.5)["layers.2.0.weight"] == 0.25


def test_without_a_list_of_layers_blocks_in_a_row_are_taken():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    assert told(model, "scale", layer_decay=0.5) == {"0.weight": 0.25, "0.bias": 0.25, "2.weight": 0.5, "2.bias": 0.5}


def test_layer_decay_without_layers_is_refused():
    with pytest.raises(RecipeError, match=r"(?s)layer_decay needs a list of layers.*leave layer_decay out"):
        told(Tagger(), "scale", layer_decay=0.9)
