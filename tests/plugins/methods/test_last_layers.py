"""`last_layers` moves what it names and nothing else, and the frozen part costs no graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.blocks.tensors import to_torch
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.last_layers import LastLayers
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.partners import Trial


def trial(backbone, task, **options):
    return Trial.of(task, backbone, LastLayers(**options))


@pytest.fixture
def bert(tiny_bert: Path):
    return lambda **options: trial(Pretrained(model=str(tiny_bert), dropout=0.0), TextClassification(), **options)


def trained(model: nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_the_last_layer_and_the_head_move_and_the_rest_is_bit_equal(bert):
    one = bert(layers=1)
    before = {name: weight.detach().clone() for name, weight in one.module.named_parameters()}
    one.fit(steps=3)
    moved = {name for name, weight in one.module.named_parameters() if not torch.equal(weight, before[name])}
    named = {n for n in before if n.startswith(("bert.encoder.layer.1.", "bert.pooler.", "classifier."))}
    noise = {"bert.encoder.layer.1.attention.self.key.bias"}  # it changes no softmax, so its gradient is rounding
    assert moved | noise == named
    assert len(named) == 20
    assert all(torch.equal(before[name], weight) for name, weight in one.module.named_parameters() if name not in named)


def test_the_frozen_part_builds_no_graph(bert):
    one, seen = bert(layers=1), {}
    encoder = one.module.bert.encoder.layer
    for place, layer in enumerate(encoder):
        layer.register_forward_hook(lambda _m, _i, out, place=place: seen.update({place: out[0].requires_grad}))
    examples = [one.task.examples(row, one.processor)[0] for row in one.rows[:4]]
    batch = to_torch(one.task.collate(examples, one.processor))
    one.module.train()
    one.task.loss(one.task.forward(one.module, batch), batch).sum().backward()
    assert seen == {0: False, 1: True}
    assert {n for n, w in one.module.named_parameters() if w.grad is not None} == trained(one.module)


@pytest.mark.parametrize(
    ("layers", "lowest"), [(0, "bert.pooler"), (1, "bert.encoder.layer.1"), (2, "bert.encoder.layer.0")]
)
def test_the_number_says_from_which_layer_on(bert, layers, lowest):
    names = [name for name, weight in bert(layers=layers).module.named_parameters() if weight.requires_grad]
    assert names[0].startswith(lowest)
    assert not any("embeddings" in name for name in names)


def test_a_network_of_stages_and_one_without_a_list():
    one = trial(Cnn(size="tiny"), ImageClassification(), layers=1)
    one.module, method = Cnn(size="tiny").build(one.task.head(), one.processor, None), LastLayers(layers=1)
    assert {n.split(".")[1] for n in trained(method.wrap(one.module)) if n.startswith("stages")} == {"1"}
    plain = nn.Module()
    plain.low, plain.high = nn.Linear(2, 2), nn.Linear(2, 2)
    assert trained(method.wrap(plain)) == {"high.weight", "high.bias"}
    row = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.Linear(2, 1))
    assert trained(method.wrap(row)) == {"3.weight", "3.bias"}


def test_what_is_still_random_is_trained_wherever_it_lies():
    row = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    method = LastLayers(layers=1).resolve(["0.bias"])
    assert trained(method.wrap(row)) == {"0.bias", "1.weight", "1.bias"}


def test_more_layers_than_there_are(bert):
    with pytest.raises(RecipeError, match=r"9 layers are to be trained, and the model has 2: bert\.encoder\.layer\.0,"):
        bert(layers=9)
