"""Pairs of pictures and texts: the loss of CLIP, what it learns from pairs alone, answers, and odd pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from danlu.contracts import Batch
from danlu.core.errors import DataError
from danlu.plugins.backbones.two_towers import TwoTowers
from danlu.plugins.metrics.retrieval_recall import RetrievalRecall
from danlu.plugins.tasks.image_text import ImageText
from danlu.testing.partners import Trial

SMALL = {"picture": {"cnn": "tiny"}, "text": {"danlu.testing.bag:Bag": {"dropout": 0.0}}, "size": 16}


def batch(same: list[int]) -> tuple[dict[str, torch.Tensor], Batch]:
    drawn = torch.nn.functional.normalize(torch.randn(2, len(same), 6, generator=torch.manual_seed(0)), dim=-1)
    outputs = {"picture": drawn[0], "text": drawn[1], "scale": torch.full((len(same),), 5.0)}
    return outputs, Batch({}, {"same": torch.tensor(same)}, torch.ones(len(same)))


def test_the_loss_is_cross_entropy_both_ways():
    outputs, given = batch([1, 2, 3, 4])
    scores = 5 * outputs["picture"] @ outputs["text"].T
    wanted = [torch.nn.functional.cross_entropy(s, torch.arange(4), reduction="none") for s in (scores, scores.T)]
    assert torch.allclose(ImageText().loss(outputs, given), sum(wanted) / 2)


def test_pairs_of_one_text_are_no_wrong_answers_for_one_another():
    outputs, given = batch([7, 7])
    assert torch.equal(ImageText().loss(outputs, given), torch.zeros(2))


def rows(shuffled: bool) -> list[dict]:
    """Pictures and their texts, or with the texts dealt anew."""
    found = ImageText().sample(64)
    dealt = np.random.default_rng(1).permutation(len(found)) if shuffled else range(len(found))
    return [{**row, "text": found[k]["text"]} for row, k in zip(found, dealt, strict=True)]


def found(shuffled: bool) -> float:
    """The share of held-out pictures that choose their text among all eight."""
    trial = Trial.of(ImageText(), TwoTowers(**SMALL), rows=rows(shuffled)[:48]).fit(steps=40, batch_size=16)
    held = rows(False)[48:]
    texts = sorted({row["text"] for row in held})
    said = trial.predictor()([{"picture": row["image"]["bytes"], "texts": texts} for row in held])
    return sum(answer["label"] == row["text"] for answer, row in zip(said, held, strict=True)) / len(held)


def test_it_learns_from_pairs_and_nothing_from_shuffled_ones():
    assert found(shuffled=False) >= 0.9
    assert found(shuffled=True) <= 0.5


def test_a_choice_is_a_distribution_and_survives_json():
    trial = Trial.of(ImageText(), TwoTowers(**SMALL))
    x = {"picture": trial.inputs[0]["picture"], "texts": ["dark patch", "bright patch", "nothing"]}
    sent = json.loads(json.dumps(trial.task.to_json(x)))
    one, other = trial.predictor()([x, trial.task.from_json(sent)])
    assert sum(row["probability"] for row in one["ranking"]) == pytest.approx(1)
    assert one["label"] == one["ranking"][0]["text"]
    assert trial.task.distance(one, other) == 0
    wrong = {**other, "ranking": other["ranking"][:1]}
    assert trial.task.distance(one, wrong) > 0.01


@pytest.mark.parametrize(
    "asked",
    [{"texts": ["a"]}, {"picture": b"", "texts": []}, {"text": 3}, {"picture": b"", "texts": "ab"}, {}, "a.png"],
)
def test_what_is_no_question_is_refused(asked):
    with pytest.raises(DataError, match=r"question about pictures|must be a string|no text to choose"):
        ImageText().from_json(asked)


@pytest.mark.parametrize(
    "gap", [{"text": None}, {"text": "  "}, {"image": None}, {"image": {"bytes": None, "path": ""}}]
)
def test_half_a_pair_is_told(gap):
    trial = Trial.of(ImageText(), TwoTowers(**SMALL))
    with pytest.raises(DataError, match="is empty, and a pair has a picture and a text"):
        trial.task.examples({**trial.rows[0], **gap}, trial.processor)


def test_pictures_of_one_colour_and_texts_beyond_the_limit_are_read():
    text = {"bert": {"size": "tiny", "positions": 16}}
    sample = ImageText().sample(8)
    plain = [{**row, "image": np.full((9, 9), 200, np.uint8)} for row in sample]
    trial = Trial.of(ImageText(image="image", text="text"), TwoTowers(**(SMALL | {"text": text})), rows=sample)
    processor = trial.backbone.learn({"picture": row["image"], "text": row["text"]} for row in plain)
    assert np.isfinite(processor.inputs({"picture": plain[0]["image"]})["pixel_values"]).all()
    cut = trial.processor.inputs({"text": "bright patch " * 500})
    assert cut["input_ids"].shape == (16,)


def test_recall_counts_what_stands_before_the_right_one():
    metric = RetrievalRecall(k=1)
    right = [{"similarity": 1.0, "pair": [v, v]} for v in np.eye(4).tolist()]
    turned = [{"similarity": 0.0, "pair": [v, w]} for v, w in zip(np.eye(4), np.roll(np.eye(4), 1, 0), strict=True)]
    gold = [{"similarity": 1.0}] * 4
    ones = np.ones(4)
    assert metric.value(metric.read(right, gold), ones)["value"] == 1.0
    told = metric.value(metric.read(turned, gold), ones)
    assert told["value"] == 0.0
    assert told["there"]["5"] == 1.0
    assert told["chance"] == 0.25
