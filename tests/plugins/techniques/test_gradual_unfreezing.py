"""Layers that have not joined stay bit for bit, and all join in the end, from the last to the first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu.contracts import Technique
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.last_layers import LastLayers
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.plugins.techniques.gradual_unfreezing import GradualUnfreezing
from danlu.testing.partners import Trial

PLACES = ("classifier.weight", "layer.1.output.dense.weight", "layer.0.output.dense.weight", "word_embeddings.weight")


class Look(Technique):
    """Notes at the end of each step which of four weights have moved since the start."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "moved", [])
        object.__setattr__(self, "first", {})

    def _now(self, run) -> dict[str, torch.Tensor]:
        return {place: w.detach() for place in PLACES for name, w in run.model.named_parameters() if place in name}

    def start(self, run) -> None:
        self.first.update({place: weight.clone() for place, weight in self._now(run).items()})

    def after_step(self, run) -> None:
        now = self._now(run)
        self.moved.append([place for place in PLACES if not torch.equal(now[place], self.first[place])])


@pytest.fixture
def started(tiny_bert: Path):
    return lambda method=None: Trial.of(TextClassification(), Pretrained(model=str(tiny_bert)), method)


def test_layers_join_from_the_last_to_the_first(started) -> None:
    look = Look()
    one = started().fit([GradualUnfreezing(over=0.75), look], steps=8)
    joined = [len(moved) for moved in look.moved]
    assert joined == [1, 1, 2, 2, 3, 3, 4, 4]
    assert look.moved[2] == list(PLACES[:2])
    assert all(weight.requires_grad for weight in one.module.parameters())


def test_of_the_last_layers_alone_nothing_else_joins(started) -> None:
    look = Look()
    started(LastLayers(layers=1)).fit([GradualUnfreezing(over=0.5), look], steps=4)
    assert [len(moved) for moved in look.moved] == [1, 1, 2, 2]


def test_where_no_layer_is_trained(started) -> None:
    with pytest.raises(RecipeError, match="the method trains none of them"):
        started(LastLayers(layers=0)).fit([GradualUnfreezing()], steps=2)
