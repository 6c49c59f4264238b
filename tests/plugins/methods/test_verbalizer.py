"""`verbalizer`: the word in the gap, against transformers by hand; with training and without; what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

import danlu
from danlu import bundle
from danlu.blocks.torch_form import TorchForm
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.verbalizer import Verbalizer
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor
from danlu.testing.partners import Trial
from tiny_models import write_tiny_language_model

TASK = TextClassification(text="text", label="label", labels=("bad", "good"), max_length=32)
WORDS = {"good": ("the", "one"), "bad": "it"}
ROWS = [
    {"text": f"{a} {b}", "label": label}
    for label, a in (("good", "amber"), ("bad", "cedar"))
    for b in ("the", "one", "that", "came")
]
TEXTS = ["amber basil", "cedar", "amber that came with it and then some more cedar"]


def conforming(folder):
    return {"verbalizer": {"pattern": "{text} {mask}", "words": {"negative": "with", "positive": "came"}}}


@pytest.fixture(scope="module")
def filler(tmp_path_factory) -> Path:
    return write_tiny_language_model(tmp_path_factory.mktemp("models") / "filler", "bert")


def started(folder: Path, method: Verbalizer) -> Trial:
    return Trial.of(TASK, Pretrained(model=str(folder), dropout=0.0), method, rows=ROWS)


def by_hand(folder: Path, text: str) -> list[float]:
    """The mean score of each label's words at the mask."""
    cut, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids = cut(text, return_tensors="pt", padding=False)["input_ids"]
    with torch.no_grad():
        scores = model(input_ids=ids).logits[0, ids[0].tolist().index(cut.mask_token_id)]
    return [float(scores[cut.convert_tokens_to_ids(list(some))].mean()) for some in (("it",), ("the", "one"))]


@pytest.mark.parametrize("pattern", ["{text} it was {mask}.", "{mask}: {text}", "so {text} {mask} then"])
def test_the_scores_are_those_of_the_words_at_the_gap(filler, pattern) -> None:
    trial = started(filler, Verbalizer(pattern=pattern, words=WORDS, learn=False))
    answers = trial.predictor()(TEXTS)  # texts of several lengths, in one padded batch
    for text, answer in zip(TEXTS, answers, strict=True):
        bad, good = by_hand(filler, pattern.format(text=text, mask="[MASK]"))
        assert answer["scores"]["good"] == pytest.approx(1 / (1 + np.exp(bad - good)), abs=1e-5)


def test_without_training_nothing_moves(filler) -> None:
    trial = started(filler, Verbalizer(words=WORDS, learn=False, pattern="{text} it was {mask}"))
    before = {name: weight.clone() for name, weight in trial.module.state_dict().items()}
    trial.fit()
    assert all(torch.equal(before[name], weight) for name, weight in trial.module.state_dict().items())


def test_few_rows_teach_it(filler) -> None:
    trial = started(filler, Verbalizer(words=WORDS, pattern="{text} it was {mask}"))
    before = trial.right()
    trial.fit(steps=15, lr=2e-3)
    assert trial.right() == 1.0 > before
    gap = trial.module.model.cls.predictions.transform.dense.weight
    assert gap.requires_grad


def test_a_long_text_loses_its_end_and_keeps_the_gap(filler) -> None:
    trial = started(filler, Verbalizer(words=WORDS, pattern="so {text} it was {mask}.", learn=False))
    wide = replace(trial, task=TASK.model_copy(update={"max_length": 64}))  # as many as the model has positions
    [answer] = wide.predictor()(["amber " * 200])
    room = 64 - trial.processor.length("so it was [MASK].")
    bad, good = by_hand(filler, f"so {'amber ' * room} it was [MASK].")
    assert answer["scores"]["good"] == pytest.approx(1 / (1 + np.exp(bad - good)), abs=1e-5)


def test_saved_and_exported_it_answers_the_same(filler, tmp_path) -> None:
    trial = started(filler, Verbalizer(words=WORDS, pattern="{text} it was {mask}.")).fit(steps=2)
    predictor = Predictor(TorchForm(trial.module), TASK, trial.processor)
    with predictor.listen() as calls:
        wanted = predictor(TEXTS)
    assert bundle.load(trial.save(tmp_path / "saved", (trial.method,)))(TEXTS) == wanted
    (tmp_path / "onnx").mkdir()
    Onnx().export(trial.module, list(calls), tmp_path / "onnx")
    exported = Predictor(Onnx().load(tmp_path / "onnx", lambda: None), TASK, trial.processor)
    assert max(TASK.distance(a, b) for a, b in zip(exported(TEXTS), wanted, strict=True)) < 1e-4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"words": {"good": "amberly", "bad": "it"}}, "the word 'amberly' of the label 'good' is no single token of the tokenizer, which makes amber ##l ##y of it"),
        ({"words": {"good": "☂", "bad": "it"}}, "the word '☂' of the label 'good' is no single token"),
        ({"words": {"good": "it", "bad": "it"}}, "the word 'it' stands for more than one label"),
        ({"words": {"good": (), "bad": "it"}}, "the label 'good' has no word"),
        ({"words": {"fine": "it"}}, "'fine' has words, and is no label; the labels are: bad, good"),
        ({"words": WORDS, "pattern": "{text} {mask}" + " a" * 70}, "has 72 tokens and leaves no room for a text among 64 positions"),
    ],
)  # fmt: skip
def test_what_is_refused(filler, options, told) -> None:
    with pytest.raises(RecipeError, match=told):
        started(filler, Verbalizer(**options))


def test_a_model_that_never_filled_a_gap(tiny_bert: Path) -> None:
    with pytest.raises(RecipeError, match="the model was not trained to fill gaps: cls"):
        started(tiny_bert, Verbalizer(words=WORDS, pattern="{text} {mask}"))


def test_on_a_model_that_was_pretrained_here(tmp_path) -> None:
    texts = [f"{word} {k} was {said}" for k in range(20) for word, said in (("amber", "fine"), ("cedar", "poor"))]
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"{text}\n" for text in texts))
    (tmp_path / "rows.csv").write_text(
        "text,label\n"
        + "".join(f"{w} {k},{label}\n" for k in range(20) for w, label in (("amber", "a"), ("cedar", "c")))
    )
    data = {"do": "prepare", "split": {"near": None}}
    method = {"verbalizer": {"pattern": "{text} was {mask}", "words": {"a": "fine", "c": "poor"}, "learn": False}}
    steps = {
        "texts": data | {"source": {"csv": str(tmp_path / "texts.csv")}, "task": {"masked_lm": {"length": 16}}},
        "first": {
            "do": "pretrain", "dataset": "$texts", "backbone": {"bert": {"positions": 32, "dropout": 0}}, "steps": 3,
            "lr": 3e-3, "batch_size": 8,
        },
        "data": data | {"source": {"csv": str(tmp_path / "rows.csv")}, "task": "text_classification"},
        "asked": {"do": "finetune", "dataset": "$data", "base": "$first", "method": method},
    }  # fmt: skip
    done = danlu.run({"name": "gaps", "seed": 0, "steps": steps}, store=tmp_path / "store", trackers=[])
    assert done["asked"].manifest["numbers"]["steps"] == 0
    known, asked = (bundle.load_module(done[step].path / "trained")[0].state_dict() for step in ("first", "asked"))
    assert {f"model.{name}" for name in known} == asked.keys()
    assert all(torch.equal(weight, asked[f"model.{name}"]) for name, weight in known.items())
    answers = bundle.load(done["asked"].path / "trained")(["amber 3", "cedar 3"])
    assert answers[0]["scores"] != answers[1]["scores"]
