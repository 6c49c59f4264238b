"""A vision transformer from scratch takes pictures of any size, and learns real digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import danlu
from danlu.plugins.backbones.vit import Vit
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.testing.partners import Trial


def conforming(folder):
    return {"vit": {"dropout": 0.0}}


@pytest.mark.parametrize("shape", [(8, 8), (5, 23), (28, 28, 3), (1, 1), (64, 40), (37, 64, 3)])
def test_pictures_of_any_size_are_cut_into_whole_patches(shape):
    backbone = Vit(dropout=0.0)
    picture = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    processor = backbone.learn([picture])
    config = backbone.build(ImageClassification(labels=("a", "b")).head(), processor, None).config
    assert all(side % config.patch_size == 0 for side in config.image_size)
    assert processor.height - shape[0] < config.patch_size
    assert processor.inputs(picture)["pixel_values"].shape == (processor.channels, *config.image_size)
    assert 1 <= max(config.image_size) // config.patch_size <= 8


def test_a_side_and_a_patch_of_ones_own():
    processor = Vit(side=28, patch=7).learn([np.zeros((9, 9), np.uint8)])
    assert (processor.height, processor.width, processor.square) == (28, 28, 7)
    with pytest.raises(ValueError, match="patches of 7 pixels do not fill a side of 30; `side: 28` is filled"):
        Vit(side=30, patch=7)


def test_plain_transformers_gives_the_same_answers(tmp_path):
    import transformers

    one = Trial.of(ImageClassification(), Vit()).fit(steps=5)
    one.save(tmp_path / "model")
    model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()
    for x in one.inputs[:3]:
        pixels = torch.from_numpy(one.processor.inputs(x)["pixel_values"])[None]
        with torch.no_grad():
            scores = model(pixel_values=pixels).logits[0].softmax(-1).numpy()
        assert np.allclose(scores, list(one.predictor()([x])[0]["scores"].values()), atol=1e-5)


def test_from_digits_to_a_measured_model(tmp_path):
    steps = {
        "data": {"do": "prepare", "source": "digits", "task": "image_classification"},
        "tuned": {"do": "finetune", "backbone": {"vit": "tiny"}, "epochs": 4, "batch_size": 64, "lr": 2e-3},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": ["majority"]},
    }
    done = danlu.run({"name": "digits-vit", "steps": steps}, store=tmp_path / "store", trackers=[])
    assert done["score"].json("scores.json")["baselines"]["majority"]["verdict"] == "better"
