"""What a model is without a word, and without a square of a picture."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.blocks.dissect import dissect, without
from danlu.blocks.explained import faithfulness, number_of
from danlu.core.errors import RecipeError
from danlu.plugins.explainers.occlusion import Occlusion
from danlu.testing.explaining import TEXTS, planted


class Answers:
    """A predictor made of a function."""

    def __init__(self, answer, modality="text") -> None:
        self.answer, self.task = answer, SimpleNamespace(gives={"modality": modality})

    def __call__(self, inputs):
        return [self.answer(x) for x in inputs]

    def try_all(self, inputs):
        found = []
        for x in inputs:
            try:
                found.append(self.answer(x))
            except ValueError as fault:
                found.append(fault)
        return found


def scored(share):
    return {
        "label": "a" if share >= 0.5 else "b",
        "confidence": max(share, 1 - share),
        "scores": {"a": share, "b": 1 - share},
    }


def test_texts_in_words_and_what_is_left():
    pieces, note = dissect("A warm,  funny film. ", "text", most=99, across=8)
    assert [piece.text for piece in pieces] == ["A", " warm,", "  funny", " film."]
    assert note == ""
    assert without("A warm,  funny film. ", [pieces[0], pieces[2]]) == "warm, film."
    assert without("A warm film", dissect("A warm film", "text", most=99, across=8)[0]) == ""


def test_chinese_is_taken_apart_by_characters():
    pieces, _ = dissect("很好看 film", "text", most=99, across=8)
    assert [piece.text for piece in pieces] == ["很", "好", "看", " film"]
    assert without("很好看 film", [pieces[1]]) == "很看 film"


def test_a_pair_keeps_the_rest_of_it():
    x = {"text": "one two", "text_pair": "three", "n_best": 3}
    pieces, _ = dissect(x, "text", most=99, across=8)
    assert [(piece.field, piece.text) for piece in pieces] == [
        ("text", "one"),
        ("text", " two"),
        ("text_pair", "three"),
    ]
    assert without(x, [pieces[0], pieces[2]]) == {"text": "two", "text_pair": "", "n_best": 3}


def test_a_long_text_is_taken_apart_in_groups():
    pieces, note = dissect(" ".join(f"w{k}" for k in range(25)), "text", most=10, across=8)
    assert len(pieces) == 9
    assert pieces[0].text == "w0 w1 w2"
    assert "25 words, 3 at a time" in note


def test_the_square_that_decides_is_found():
    def bright(picture):
        return scored(float(np.asarray(picture)[4:8, 12:16].mean()) / 255)

    picture = np.zeros((16, 16), np.uint8)
    picture[4:8, 12:16] = 250
    [one] = Occlusion(across=4).explain(Answers(lambda x: bright(Image.fromarray(np.asarray(x))), "image"), [picture])
    assert len(one.pieces) == 16
    assert one.pieces[one.strongest()[0]].place == (4, 12, 8, 16)
    assert [weight for weight in one.weights if abs(weight) > 0.01] == [one.weights[one.strongest()[0]]]


def test_few_pictures_are_held_at_a_time():
    asked = []

    class Counting(Answers):
        def try_all(self, inputs):
            asked.append(len(inputs))
            return super().try_all(inputs)

    predictor = Counting(lambda x: scored(0.9), "image")
    pictures = [np.full((32, 32), 9, np.uint8)] * 3
    found = Occlusion(across=4).explain(predictor, pictures)
    faithfulness(predictor, found, pictures, 0)
    assert sum(asked) == 3 * (16 + 1) + 3 * 4
    assert max(asked) == 8


def test_a_picture_that_is_smaller_than_the_squares():
    pieces, _ = dissect(np.zeros((3, 5, 3), np.uint8), "image", most=9, across=8)
    assert len(pieces) == 15


def test_numbers_and_several_labels():
    value = number_of({"value": 2.5})
    assert (value.name, value.of({"value": 4})) == ("the value", 4.0)
    several = number_of({"labels": [], "scores": {"x": 0.1, "y": 0.4}})
    assert several.name == "log-odds of y"
    with pytest.raises(RecipeError, match="no label and no value"):
        number_of({"entities": []})


def test_what_the_model_does_not_answer_weighs_nothing_and_is_told():
    def picky(text):
        if not text.strip() or "must" not in text:
            raise ValueError
        return scored(0.9 if "good" in text else 0.2)

    [one] = Occlusion().explain(Answers(picky), ["must good film"])
    assert one.base is None
    assert [round(weight, 2) for weight in one.weights] == [0.0, 3.58, 0.0]
    assert "without 1 of its pieces" in one.notes[0]


def test_of_a_trained_model_the_word_that_decides_is_the_strongest(tmp_path):
    rows = tmp_path / "r.csv"
    rng = np.random.default_rng(0)
    lines = []
    for k in range(200):
        rest = rng.choice(["blue", "red", "tall", "old"], 4).tolist()
        lines.append(f"{' '.join(rest)} {'lovely' if k % 2 else 'awful'},{'pos' if k % 2 else 'neg'}")
    rows.write_text("text,label\n" + "\n".join(lines) + "\n")
    steps = {
        "data": {"do": "prepare", "source": {"csv": str(rows)}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": "tfidf_lr"},
    }
    done = danlu.run({"name": "x", "steps": steps}, store=tmp_path / "s", trackers=[])
    model = danlu.load(done["tuned"].path)
    for one in model.explain(["red old tall lovely blue", "awful red tall"]):
        word = one.pieces[one.strongest()[0]].text.strip()
        assert word in ("lovely", "awful")
        assert one.weights[one.strongest()[0]] > 0


def test_faithful_words_are_missed_and_drawn_ones_are_not():
    predictor = planted()
    texts = [*TEXTS[:2], "good the film the film", "the film bad film the", "bad the", "the good the film film"] * 3
    found = Occlusion().explain(predictor, texts)
    told = faithfulness(predictor, found, texts, 0)
    assert told["holds"]
    assert told["fall"] > told["by_chance"] + 0.2
    rng = np.random.default_rng(0)
    shuffled = [dataclasses.replace(one, weights=tuple(rng.normal(size=len(one.weights)))) for one in found]
    assert not faithfulness(predictor, shuffled, texts, 0)["holds"]


def test_nothing_is_said_of_one_row():
    predictor = planted()
    told = faithfulness(predictor, Occlusion().explain(predictor, ["the good film"]), ["the good film"], 0)
    assert told["fall"] is None
    assert not told["holds"]
