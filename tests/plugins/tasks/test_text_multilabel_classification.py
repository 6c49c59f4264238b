"""Texts with any number of labels, from a table of any of three forms to a published model."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import danlu
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.metrics.accuracy import Accuracy
from danlu.plugins.metrics.f1 import F1
from danlu.plugins.metrics.precision import Precision
from danlu.plugins.metrics.recall import Recall
from danlu.plugins.metrics.roc_auc import RocAuc
from danlu.plugins.tasks.text_multilabel_classification import TextMultilabelClassification as Task
from danlu.testing import checks

LISTS = pa.table({"text": ["a b c", "d e f", "g h i"], "tags": [["x", "y"], [], ["y"]]})


def test_labels_are_found_in_each_form_of_table():
    joined = pa.table({"text": LISTS["text"], "tags": ["x| y", "x", "y|x|y"]})
    split = pa.table({"text": LISTS["text"], "x": ["1", "0", "1"], "y": [True, False, True]})
    lists, text, columns = (
        Task().resolve(LISTS),
        Task(label="tags").resolve(joined),
        Task(label=("y", "x")).resolve(split),
    )
    assert (lists.label, lists.labels, lists.separator) == ("tags", ("x", "y"), None)
    assert (text.labels, text.separator) == (("x", "y"), "|")
    assert columns.labels == ("y", "x")
    found = [
        [task.gold(row)["labels"] for row in t.to_pylist()]
        for task, t in ((lists, LISTS), (text, joined), (columns, split))
    ]
    assert found == [[["x", "y"], [], ["y"]], [["x", "y"], ["x"], ["x", "y"]], [["y", "x"], [], ["y", "x"]]]
    assert lists.gold({"tags": ["y"]})["scores"] == {"x": 0.0, "y": 1.0}
    assert lists.gold({"tags": None}) is None
    assert columns.gold({"x": 1, "y": None}) is None


@pytest.mark.parametrize(
    ("options", "columns", "told"),
    [
        ({}, {"tags": ["x", "y"]}, "no column holds lists, so which one are the labels"),
        ({}, {"a": [["x"], []], "b": [["x"], []]}, "2 columns hold lists"),
        ({"label": "tgs"}, {"tags": [["x"], []]}, "there is no column 'tgs'"),
        ({"label": "tags"}, {"tags": ["x", "y"]}, "no cell of the column 'tags' holds one of"),
        ({"label": ("x", "y")}, {"x": ["1", "0"], "y": ["1", "maybe"]}, "the column 'y' holds 'maybe', not 0 or 1"),
        ({"label": ("x", "y")}, {"x": [1, 0], "y": [0, 0]}, "no training row has the label 'y'"),
        ({"label": "n"}, {"n": [3, 4]}, "the column 'n' holds int, not labels"),
        ({}, {"tags": [["x"], ["x"]]}, "1 labels can't be learnt"),
    ],
)
def test_a_table_that_it_cannot_learn_from(options, columns, told):
    with pytest.raises(DataError, match=told):
        Task(**options).resolve(pa.table({"text": ["some words", "other words"], **columns}))


def test_a_row_is_not_learnt_from_without_its_labels():
    task = Task().resolve(LISTS)
    for cell, told in ((None, "a row has no labels"), (["z"], "a row has the label 'z', in no training row")):
        with pytest.raises(DataError, match=told):
            task.examples({"text": "a", "tags": cell}, None)
    with pytest.raises(RecipeError, match="not settled yet"):
        Task().columns()


def test_answers_take_the_threshold():
    outputs = [{"logits": np.array([2.0, -1.0, -900.0])}]
    task = Task(text="text", label="tags", labels=("x", "y", "z"))
    assert task.decode("", [], outputs, None)["labels"] == ["x"]
    assert Task(labels=task.labels, threshold=0.2).decode("", [], outputs, None)["labels"] == ["x", "y"]
    assert task.decode("", [], outputs, None)["scores"]["y"] == pytest.approx(1 / (1 + np.e))
    with pytest.raises(DataError, match="not finite"):
        task.decode("", [], [{"logits": np.array([np.nan, 0, 0])}], None)


def test_the_threshold_is_where_f1_is_best():
    task = Task(text="text", label="tags", labels=("x", "y"))
    scores = [(0.9, 0.4), (0.3, 0.05), (0.35, 0.1)]
    answers = [{"labels": [], "scores": dict(zip("xy", pair, strict=True))} for pair in scores]
    gold = [{"labels": ["x", "y"]}, {"labels": ["x"]}, {"labels": []}]
    tuned = task.tune(answers, gold)
    assert tuned.threshold == pytest.approx((0.3 + 0.1) / 2)  # 3 hits of 4 given beats 2 of 2
    assert Task(threshold=0.7).tune(answers, gold).threshold == 0.7
    assert task.tune(answers, [{"labels": []}] * 3).threshold == 0.5


@pytest.mark.parametrize(
    "options", [{"label": "tags", "separator": ";"}, {"label": ("x", "y", "z")}, {"threshold": 0.3}]
)
def test_every_form_keeps_the_promises_of_a_task(options):
    assert len(checks.run(Task(**options))) > 10


@pytest.mark.parametrize("metric", [Accuracy, F1, Precision, Recall, RocAuc])
def test_metrics_of_labels_judge_sets_of_them(metric):
    checks.run(metric, task=Task())


def test_metrics_agree_with_scikit_learn():
    from sklearn import metrics

    rng = np.random.default_rng(0)
    truth, given, names = rng.random((200, 4)) < 0.3, rng.random((200, 4)) < 0.4, "abcd"

    def told(rows):
        return [
            {
                "labels": [n for n, has in zip(names, row, strict=True) if has],
                "scores": dict(zip(names, map(float, row), strict=True)),
            }
            for row in rows
        ]

    for metric, judge in ((F1, metrics.f1_score), (Precision, metrics.precision_score), (Recall, metrics.recall_score)):
        one = metric()
        found = one.value(one.read(told(given), told(truth)), np.ones(200))
        for average in ("macro", "micro", "weighted"):
            assert found[average] == pytest.approx(judge(truth, given, average=average))
    right = Accuracy().value(Accuracy().read(told(given), told(truth)), np.ones(200))
    assert right == pytest.approx(metrics.accuracy_score(truth, given))
    area = RocAuc().value(RocAuc().read(told(given), told(truth)), np.ones(200))["value"]
    assert area == pytest.approx(metrics.roc_auc_score(truth, given.astype(float)))


@pytest.fixture
def table(tmp_path):
    rows = Task(label=("animal", "plant", "stone", "rare")).sample(400)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "text": f"{row['text']} {k}", "rare": int(k % 20 == 0)} for k, row in enumerate(rows))
    return tmp_path / "rows.csv"


def test_the_whole_line(table, tmp_path):
    task = {"text_multilabel_classification": {"label": ["animal", "plant", "stone", "rare"]}}
    backbone = {"bert": {"positions": 64, "dropout": 0.0}}
    recipe = {
        "name": "tags",
        "steps": {
            "data": {"do": "prepare", "source": {"csv": str(table)}, "task": task, "split": {"near": None}},
            "tuned": {"do": "finetune", "backbone": backbone, "epochs": 6, "lr": 1e-3, "watch": "f1"},
            "small": {"do": "compress", "budget": {"max_drop": {"f1": 0.1}}},
            "score": {"do": "evaluate", "metrics": ["f1", "accuracy", "precision", "recall", "roc_auc"]},
            "same": {"do": "verify", "max_changed": 0.1},
            "ship": {"do": "publish", "alias": "production", "require": {"f1": ">= 0.4"}},
        },
    }
    done = danlu.run(recipe, store=tmp_path / "store", trackers=[])
    data = done["data"].json("dataset.json")
    test = pa.parquet.read_table(done["data"].path / "test.parquet")
    assert sum(map(int, test["rare"].to_pylist())) == 4  # a fifth of the 20 rows that have it
    assert data["task"]["text_multilabel_classification"]["labels"] == ["animal", "plant", "stone", "rare"]
    scores = done["score"].json("scores.json")
    assert set(scores["baselines"]) == {"majority", "tfidf_lr"}
    assert [row["label"] for row in scores["labels"]] == ["animal", "plant", "stone", "rare"]
    assert "Label by label" in done.report.read_text()
    told = json.loads((done["tuned"].path / "trained" / "bundle.json").read_text())
    threshold = told["task"]["settings"]["threshold"]
    assert 0 < threshold < 1
    model = danlu.load("tags", store=tmp_path / "store")
    (answer,) = model.predict(["the one amber cedar 7"])
    assert answer["labels"] == [label for label, score in answer["scores"].items() if score >= threshold]
