"""Two texts with a label, and texts with a number: columns, what a model is given, and the way to a published model."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import danlu
from danlu.blocks.grams import GramProcessor
from danlu.blocks.tokens import TextProcessor
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.bert import Bert
from danlu.plugins.backbones.modern import Modern
from danlu.plugins.compressors.int8 import Int8
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.text_pair_classification import TextPairClassification
from danlu.plugins.tasks.text_regression import TextRegression
from danlu.testing.partners import Trial

WORDS = ["amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "ivory", "jade", "karst", "lotus"]
PAIRS = pa.table(
    {
        "id": [str(k) for k in range(40)],
        "premise": [f"the {WORDS[k % 12]} came with number {k}" for k in range(40)],
        "hypothesis": [f"a {WORDS[k % 7]} was here on day {k}" for k in range(40)],
        "verdict": ["follows", "does not"] * 20,
    }
)


# ---- columns -----------------------------------------------------------------------------------------------------------


def test_both_texts_and_the_label_are_found_in_the_order_of_the_table():
    found = TextPairClassification().resolve(PAIRS)
    assert (found.text, found.text_pair, found.label) == ("premise", "hypothesis", "verdict")
    assert found.labels == ("does not", "follows")
    assert TextPairClassification(text="hypothesis").settle(PAIRS).text_pair == "premise"


def test_a_column_that_is_not_there_names_those_that_are_and_the_override():
    with pytest.raises(DataError, match=r"(?s)no column 'other'; the columns are: id, premise.*text_pair=hypothesis"):
        TextPairClassification(text="premise", text_pair="other", label="verdict").settle(PAIRS)
    with pytest.raises(DataError, match=r"(?s)for the option text_pair; the columns are: premise, verdict.*=<column>"):
        TextPairClassification(text="premise", label="verdict").settle(PAIRS.select(["premise", "verdict"]))
    with pytest.raises(DataError, match="named twice, and every row would be a pair of equal texts"):
        TextPairClassification(text="premise", text_pair="premise", label="verdict").settle(PAIRS)
    rows = PAIRS.append_column("n", pa.array(range(40)))
    with pytest.raises(DataError, match="holds int64, not text"):
        TextPairClassification(text="premise", text_pair="n", label="verdict").settle(rows)
    with pytest.raises(DataError, match="nothing to tell apart: the column 'verdict' has only 'follows'"):
        TextPairClassification(label="verdict").resolve(PAIRS.filter(pa.array([True, False] * 20)))
    with pytest.raises(RecipeError, match="not settled yet"):
        TextPairClassification().columns()


def test_a_number_is_found_by_name_else_the_last_column_of_numbers():
    rows = pa.table({"text": ["so good", "so so"], "score": [1.5, 0.0], "n": [7, 9]})
    found = TextRegression().resolve(rows)
    assert (found.text, found.value, found.mean, found.spread) == ("text", "score", 0.75, 0.75)
    assert TextRegression().settle(rows.drop_columns(["score"])).value == "n"
    written = TextRegression().resolve(pa.table({"text": ["so good", "so so"], "y": ["1.5", "-2"]}))
    assert written.gold({"text": "x", "y": "-2"}) == {"value": -2.0}


def test_what_is_no_number_is_said_with_its_row():
    texts = ["so good", "so so", "so bad"]
    with pytest.raises(DataError, match="row 2: 1 row holds no number in the column 'y', this one first: 'high'"):
        TextRegression(value="y").resolve(pa.table({"text": texts, "y": ["1", "high", "3"]}))
    with pytest.raises(DataError, match="row 2: 2 rows hold no number in the column 'y', this one first: nan"):
        TextRegression(value="y").resolve(pa.table({"text": texts, "y": [1.0, float("nan"), None]}))
    with pytest.raises(DataError, match="nothing to learn: the column 'y' holds 2 alone"):
        TextRegression(value="y").resolve(pa.table({"text": texts, "y": [2, 2, 2]}))
    with pytest.raises(DataError, match=r"(?s)there is no column 'z'; the columns are: text, y.*value=y"):
        TextRegression(value="z").settle(pa.table({"text": texts, "y": [1, 2, 3]}))
    with pytest.raises(DataError, match="no column holds numbers to learn; the columns are: text"):
        TextRegression().settle(pa.table({"text": texts}))


# ---- what a model is given ---------------------------------------------------------------------------------------------


def test_both_texts_go_in_together_with_their_types_and_the_longer_is_cut_first(tiny_bert):
    processor = TextProcessor.load(tiny_bert)
    arrays = processor.inputs(("amber " * 30, "basil cedar"), 12)
    kinds = arrays["token_type_ids"].tolist()
    assert len(kinds) == 12
    assert kinds == [0] * 9 + [1] * 3, "the short text must be whole: two words and the end"
    assert "token_type_ids" not in processor.inputs("amber basil")
    swapped = processor.inputs(("basil cedar", "amber " * 30), 12)
    assert not np.array_equal(swapped["input_ids"], arrays["input_ids"])


def test_the_words_of_both_texts_are_counted():
    processor = GramProcessor.learn(["amber basil", "cedar"], 100)
    assert processor.inputs(("amber", "cedar"))["ids"].tolist() == processor.inputs("amber\ncedar")["ids"].tolist()


@pytest.mark.parametrize("x", ["a text", {"text": "a"}, {"text": "a", "text_pair": 1}, {"text": "a", "pair": "b"}])
def test_what_is_no_pair_is_refused(x):
    with pytest.raises(DataError, match="an input is two texts"):
        TextPairClassification().from_json(x)


def test_a_number_has_its_distance_in_standard_deviations():
    task = TextRegression(text="t", value="y", mean=2.0, spread=0.5)
    assert task.distance({"value": 1.0}, {"value": 1.5}) == 0.5
    assert task.distance({"value": 1.0}, {"value": 9.0}) == 1.0
    answer = task.decode("x", [], [{"logits": np.array([-2.0], np.float32)}], None)
    assert answer == {"value": 1.0}
    with pytest.raises(DataError, match="not a finite number"):
        task.decode("x", [], [{"logits": np.array([np.nan])}], None)


# ---- the forms of a model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "backbone"),
    [(TextPairClassification(), Bert(positions=32)), (TextRegression(text_pair="other"), Modern(positions=32))],
    ids=["bert", "modern"],
)
def test_onnx_and_int8_answer_as_the_model_does(task, backbone, tmp_path):
    """ModernBERT has no token types, though its tokenizer gives them: they must not get in anybody's way."""
    trial = Trial.of(task, backbone)
    wanted = trial.predictor()(trial.inputs)
    folders = [tmp_path / name for name in ("onnx", "int8")]
    for folder in folders:
        folder.mkdir()
    Onnx().export(trial.module, trial.calls(), folders[0])
    Int8().compress_form(folders[0], trial.calls(), folders[1])
    for folder, tolerance in zip(folders, (Onnx.tolerance, Int8.tolerance), strict=True):
        found = trial.predictor(Onnx().load(folder, lambda: None))(trial.inputs)
        assert trial.distance(wanted, found) <= tolerance


def test_it_is_seen_which_text_is_which():
    """The words of both texts as one are the same under both labels."""
    words, names = ["amber", "basil"], ["no", "yes"]
    rows = [
        {"text": f"{words[k % 2]} {WORDS[2 + k // 2 % 9]}", "text_pair": words[1 - k % 2], "label": names[k % 2]}
        for k in range(24)
    ]
    task = TextPairClassification(text="text", text_pair="text_pair")
    assert Trial.of(task, Bert(positions=32, dropout=0), rows=rows).fit(steps=40, lr=1e-3).right() == 1.0


# ---- from a table to a published model ---------------------------------------------------------------------------------


def _written(path: Path, rows: list[dict]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def _run(folder: Path, rows: list[dict], task: object, metrics: list[str], backbone: str) -> danlu.Run:
    source = {"csv": _written(folder / "rows.csv", rows)}
    steps = {
        "data": {"do": "prepare", "source": source, "task": task, "split": {"near": None}},
        "tuned": {"do": "finetune", "backbone": backbone},
        "score": {"do": "evaluate", "metrics": metrics},
        "ship": {"do": "publish", "alias": "production", "require": {metrics[0]: ">= 0"}},
    }
    return danlu.run({"name": "made", "steps": steps}, store=folder / "store", trackers=[])


def test_pairs_from_a_table_to_a_published_model(tmp_path):
    rows = [
        {"one": f"note {k}", "other": f"and {WORDS[k % 2]} it was {WORDS[k % 9]}", "fits": "yes" if k % 2 else "no"}
        for k in range(120)
    ]
    task = {"text_pair_classification": {"text": "one", "text_pair": "other"}}
    run = _run(tmp_path, rows, task, ["accuracy"], "tfidf_lr")
    scores = run["score"].json("scores.json")
    assert set(scores["baselines"]) == {"majority"}
    assert scores["metrics"]["accuracy"]["value"] > 0.9
    [answer] = danlu.load("made", store=tmp_path / "store").predict(
        [{"text": "note 1", "text_pair": "and basil it was"}]
    )
    assert answer["label"] == "yes"


def test_a_number_from_a_table_to_a_published_model(tmp_path):
    rows = [{"review": f"{WORDS[k % 12]} film number {k}", "score": 10 + 2.5 * (k % 4)} for k in range(120)]
    run = _run(tmp_path, rows, "text_regression", ["spearman", "rmse"], "tfidf_ridge")
    scores = run["score"].json("scores.json")
    assert scores["baselines"] == {}
    spearman = scores["metrics"]["spearman"]
    assert 0.9 < spearman["low"] <= spearman["value"] <= spearman["high"]
    assert len(scores["numbers"]["points"]) == scores["rows"]
    worst = scores["numbers"]["worst"]
    assert abs(worst[0]["value"] - worst[0]["gold"]) >= abs(worst[-1]["value"] - worst[-1]["gold"])
    page = (run["score"].path / "report.html").read_text(encoding="utf-8")
    assert page.count('class="bubble"') == scores["rows"]
    assert worst[0]["input"]["text"] in page
    [answer] = danlu.load("made", store=tmp_path / "store").predict(["basil film number 7"])
    assert answer["value"] == pytest.approx(12.5, abs=2)
