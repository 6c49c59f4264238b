"""Two towers: vectors of length 1, each tower alone, a text tower that was taught before, and parts that must fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from danlu import bundle, recipe
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.two_towers import TwoTowers
from danlu.plugins.tasks.image_text import ImageText
from danlu.testing.partners import Trial

SMALL = {"picture": {"cnn": "tiny"}, "text": {"bert": {"size": "tiny", "dropout": 0.0}}, "size": 16}


def conforming(folder):
    return {"two_towers": {"picture": {"cnn": "tiny"}, "text": {"lstm": {"size": "tiny", "dropout": 0.0}}, "size": 32}}


def test_each_tower_answers_alone_as_in_a_pair():
    trial = Trial.of(ImageText(), TwoTowers(**SMALL))
    pair = trial.inputs[0]
    both, picture, text = trial.predictor()([pair, {"picture": pair["picture"]}, {"text": pair["text"]}])
    assert np.allclose(both["pair"], [picture["vector"], text["vector"]], atol=1e-6)
    assert np.allclose(np.linalg.norm(both["pair"], axis=1), 1, atol=1e-6)


def test_the_temperature_is_learnt_and_bounded():
    trial = Trial.of(ImageText(), TwoTowers(**SMALL))
    before = trial.module.scale.item()
    trial.fit(steps=5)
    assert trial.module.scale.item() != before
    with torch.no_grad():
        trial.module.scale.fill_(50.0)
        example = trial.processor.inputs({"text": "bright"})
        said = trial.module(**{name: torch.from_numpy(array)[None] for name, array in example.items()})
    assert said["scale"].item() == pytest.approx(100)


def test_a_frozen_text_tower_keeps_its_weights_and_comes_back_from_disk(tmp_path, tiny_bert):
    text = {"pretrained": {"model": str(tiny_bert), "dropout": 0.0}}
    trial = Trial.of(ImageText(), TwoTowers(**(SMALL | {"text": text, "frozen": True})))
    kept = {name: weight.clone() for name, weight in trial.module.text.named_parameters()}
    trial.fit(steps=5)
    moved = {name for name, weight in trial.module.text.named_parameters() if not torch.equal(weight, kept[name])}
    assert moved
    assert all(not name.startswith(("bert.encoder", "bert.embeddings")) for name in moved)
    again = bundle.load(trial.save(tmp_path / "model"))(trial.inputs)
    assert trial.distance(trial.predictor()(trial.inputs), again) < 1e-6


RECIPE = """
steps:
  data: {do: prepare, source: {csv: {path: pairs.csv, pictures: [image]}}, task: image_text}
  taught: {do: pretrain, backbone: {two_towers: {picture: {cnn: tiny}, text: {bert: tiny}}}}
"""


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("taught.backbone.two_towers.picture=bert", "bert wants modality = text, and here it meets image"),
        ("taught.backbone.two_towers.text=vit", "vit wants modality = image, and here it meets text"),
        ("taught.backbone=cnn", "cnn wants modality = image"),
        ("taught.backbone.two_towers.picture={vit: {side: 30, patch: 8}}", "patches of 8 pixels do not fill a side of 30"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_told_before_anything_runs(tmp_path, override, what):
    (tmp_path / "pairs.csv").write_text("image,text\na.png,a\n")
    path = tmp_path / "pairs.yaml"
    path.write_text(RECIPE)
    assert len(recipe.load(path).steps) == 2
    with pytest.raises(RecipeError, match=what):
        recipe.load(path, [override])
