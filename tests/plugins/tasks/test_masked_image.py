"""Hidden squares: the model does not see them, every look hides others, and a classifier starts from the body."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import danlu
from danlu.blocks import earlier, pixels, squares
from danlu.contracts import Head
from danlu.core.errors import DataError
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.backbones.resnet import Resnet
from danlu.plugins.backbones.vit import Vit
from danlu.plugins.metrics.filling_r2 import FillingR2
from danlu.plugins.tasks.masked_image import MaskedImage
from danlu.testing.partners import Trial

BACKBONES = {"vit": Vit(dropout=0.0), "cnn": Cnn(size="tiny"), "resnet": Resnet(size="tiny")}


@pytest.fixture(params=BACKBONES)
def trial(request):
    return Trial.of(MaskedImage(), BACKBONES[request.param])


def asked(trial, values, at):
    with torch.no_grad():
        model = trial.module.eval()
        return model(pixel_values=torch.from_numpy(values)[None], at=torch.from_numpy(at)[None])["squares"][0].numpy()


def test_what_is_hidden_is_not_seen(trial):
    [example] = trial.task.encode(trial.inputs[0], trial.processor)
    values, at = example.inputs["pixel_values"], example.inputs["at"]
    for hidden, moves in ((True, False), (False, True)):
        changed = values.copy()
        side = example.note
        for place in range(64):
            if (place in at) == hidden:
                top, left = side * (place // 8), side * (place % 8)
                changed[:, top : top + side, left : left + side] = 3.0
        assert (np.abs(asked(trial, values, at) - asked(trial, changed, at)).max() > 1e-6) == moves


def test_only_the_hidden_squares_are_told_in_their_order(trial):
    [example] = trial.task.encode(trial.inputs[0], trial.processor)
    values, at = example.inputs["pixel_values"], example.inputs["at"]
    said = asked(trial, values, at)
    assert said.shape == (len(at), 4) == example.targets["squares"].shape
    assert np.allclose(asked(trial, values, at[::-1].copy()), said[::-1], atol=1e-6)


def test_every_look_hides_others_of_the_same_number():
    task, rng = MaskedImage(share=0.25), np.random.default_rng(0)
    trial = Trial.of(task, Cnn(size="tiny"))
    [example] = trial.task.examples(trial.rows[0], trial.processor)
    looks = [trial.task.vary(example, rng) for _ in range(3)]
    assert {len(look.inputs["at"]) for look in (example, *looks)} == {16}
    assert example.count == 16
    assert len({tuple(look.inputs["at"]) for look in (example, *looks)}) == 4


def test_an_answer_is_a_picture_to_look_at():
    trial = Trial.of(MaskedImage(), Cnn(size="tiny")).fit()
    x = trial.inputs[0]
    [answer] = trial.predictor()([x])
    picture, masked, filled = (
        np.asarray(pixels.open_picture(y)).astype(int)
        for y in (x, pixels.from_base64(answer["masked"]), pixels.from_base64(answer["picture"]))
    )
    seen = masked == picture
    assert 0.3 < seen.mean() < 0.5
    assert (filled[seen] == picture[seen]).all()
    assert np.abs(filled - picture)[~seen].mean() < 40
    assert answer["error"] < 0.25
    metric = FillingR2()
    assert metric.value(metric.read([{"error": 0.25, "error_of_mean": 1.0}] * 2, []), np.ones(2)) == 0.75


@pytest.mark.parametrize("name", BACKBONES)
def test_a_classifier_takes_over_the_body(name, tmp_path):
    trial = Trial.of(MaskedImage(), BACKBONES[name])
    base = earlier.Base(trial.save(tmp_path / "model"), trial.backbone, trial.task.head())
    module, fresh = base.start(Head("input", 2, ("a", "b")), trial.processor)
    body, taught = module.state_dict(), trial.module.state_dict()
    kept = [key for key in body if key not in fresh]
    assert len(kept) >= len(body) - 2
    assert all(torch.equal(body[key], taught[key]) for key in kept)


def test_a_picture_of_one_square_is_told():
    trial = Trial.of(MaskedImage(), Vit(side=8, patch=8))
    with pytest.raises(DataError, match="8 × 8 pixels is one square of 8, so nothing would be seen"):
        trial.task.examples(trial.rows[0], trial.processor)


@pytest.mark.parametrize("share", [0, 1])
def test_all_or_nothing_hidden_is_no_task(share):
    with pytest.raises(ValueError, match=r"greater than 0|less than 1"):
        MaskedImage(share=share)


def test_one_colour_is_filled_in(tmp_path):
    rows = [{"image": {"bytes": pixels.encode_picture(np.full((8, 8), 90, np.uint8)), "path": None}}] * 4
    trial = Trial.of(MaskedImage(image="image"), Cnn(size="tiny"), rows=rows)
    answers = trial.predictor()(trial.inputs)
    assert all(np.isfinite(answer["error"]) and answer["error_of_mean"] < 1e-6 for answer in answers)


def test_plain_transformers_reads_the_body(tmp_path):
    import transformers

    trial = Trial.of(MaskedImage(), Vit(dropout=0.0))
    trial.save(tmp_path / "model")
    model = transformers.AutoModelForMaskedImageModeling.from_pretrained(tmp_path / "model").eval()
    [example] = trial.task.encode(trial.inputs[0], trial.processor)
    values, at = example.inputs["pixel_values"], example.inputs["at"]
    hidden = torch.zeros(1, 64, dtype=torch.bool)
    hidden[0, at] = True
    with torch.no_grad():
        body = model.vit(torch.from_numpy(values)[None], bool_masked_pos=hidden).last_hidden_state[:, 1:]
        whole = model.decoder(body.transpose(1, 2).unflatten(2, (8, 8)))[0].numpy()
    assert np.allclose(squares.cut(whole, example.note)[at], asked(trial, values, at), atol=1e-5)


def test_from_digits_to_pictures_in_the_report(tmp_path):
    steps = {
        "data": {"do": "prepare", "source": "digits", "task": "masked_image"},
        "taught": {"do": "pretrain", "backbone": {"cnn": "tiny"}, "steps": 40, "batch_size": 32, "lr": 5e-3},
        "score": {"do": "evaluate"},
    }
    done = danlu.run({"name": "digits-filled", "steps": steps}, store=tmp_path / "store", trackers=[])
    told = done["score"].json("scores.json")
    assert told["metrics"]["filling_r2"]["low"] > 0
    assert len(told["filled"]) == 6
    page = (done["score"].path / "report.html").read_text()
    assert page.count('alt="filled in') == 6
    assert "data:image/png" in page
