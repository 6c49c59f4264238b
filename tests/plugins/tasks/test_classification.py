"""The two tasks that answer with one label: rows, examples, requests."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from danlu.blocks.pictures import PICTURE
from danlu.blocks.pixels import ImageProcessor
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Head
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification

TEXT = TextClassification(text="t", label="y", labels=("a", "b", "c"), max_length=12)
IMAGE = ImageClassification(image="p", label="y", labels=("a", "b", "c"))


@pytest.fixture(params=[TEXT, IMAGE], ids=["text", "image"])
def task(request: pytest.FixtureRequest):
    return request.param


@pytest.fixture
def processor(task, tiny_bert):
    return TextProcessor.load(tiny_bert) if task is TEXT else ImageProcessor.learn(task.ask(r) for r in task.sample(3))


def test_row_is_the_inverse_of_ask_and_gold(task) -> None:
    for row in task.sample(6):
        made = task.row(task.ask(row), task.gold(row))
        assert (task.ask(made), task.gold(made)) == (task.ask(row), task.gold(row))


def test_a_sample_has_every_label_in_turn_and_is_the_same_each_time(task) -> None:
    rows = task.sample(30)
    assert [row["y"] for row in rows] == ["a", "b", "c"] * 10
    assert rows == task.sample(30)
    assert len({str(task.ask(row)) for row in rows}) == 30
    assert task.sample(9) == task.resolve(pa.Table.from_pylist(rows)).sample(9)


def test_examples_are_what_is_asked_with_the_place_of_the_label(task, processor) -> None:
    row = task.sample(2)[1]
    (example,), (asked,) = task.examples(row, processor), task.encode(task.ask(row), processor)
    assert example.targets["label"] == 1
    assert example.count == 1.0
    assert {k: v.tolist() for k, v in example.inputs.items()} == {k: v.tolist() for k, v in asked.inputs.items()}
    assert task.head() == Head("input", 3, ("a", "b", "c"))
    batch = task.collate([example, asked][:1] * 2, processor)
    assert batch.targets["label"].tolist() == [1, 1]


def test_an_input_survives_a_request(task, processor) -> None:
    for row in task.sample(3):
        x = task.ask(row)
        sent = json.loads(json.dumps(task.to_json(x)))
        jsonschema.validate(sent, task.request_schema())
        received = task.encode(task.from_json(sent), processor)[0].inputs
        assert all(np.array_equal(received[k], v) for k, v in task.encode(x, processor)[0].inputs.items())


def test_a_request_is_not_taken_for_a_path(tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(path)
    with pytest.raises(DataError, match="is not base64"):
        IMAGE.from_json(str(path))
    with pytest.raises(DataError, match="a text must be a string, not dict"):
        TEXT.from_json({"text": "x"})


def test_settings_survive_a_bundle(task) -> None:
    assert type(task).choose(json.loads(json.dumps(task.plain()))) == task


def test_a_label_that_was_never_trained_is_an_error_in_training_and_a_truth_in_judging(task, processor) -> None:
    row = task.sample(1)[0] | {"y": "new"}
    with pytest.raises(DataError, match="the label 'new' is in no training row"):
        task.examples(row, processor)
    assert task.gold(row)["label"] == "new"
    assert task.gold(row | {"y": None}) is None


def test_columns_not_settled(task) -> None:
    with pytest.raises(RecipeError, match=r"(?s)not settled yet.*data\.task\.\w+\.\w+=<column>"):
        type(task)().columns()


def test_resolve_settles_columns_and_labels() -> None:
    rows = pa.Table.from_pylist([{"n": k, **row} for k, row in enumerate(TEXT.sample(60))])
    found = TextClassification().resolve(rows)
    assert (found.text, found.label, found.labels) == ("t", "y", ("a", "b", "c"))
    assert TextClassification(labels=("c", "b", "a")).resolve(rows).labels == ("c", "b", "a")
    pictures = pa.Table.from_pylist(IMAGE.sample(60), pa.schema({"p": PICTURE, "y": pa.string()}))
    found = ImageClassification().resolve(pictures)
    assert (found.image, found.label, found.labels) == ("p", "y", ("a", "b", "c"))


def test_a_column_of_numbers_is_no_text() -> None:
    with pytest.raises(DataError, match="the column 't' holds int64, not text"):
        TextClassification(text="t", label="y").resolve(pa.table({"t": [1, 2], "y": ["a", "b"]}))


def test_a_text_that_is_none(tiny_bert) -> None:
    for x, kind in ((None, "NoneType"), (5, "int"), (b"x", "bytes"), (["x"], "list")):
        with pytest.raises(DataError, match=f"a text must be a string, not {kind}"):
            TEXT.encode(x, TextProcessor.load(tiny_bert))


def test_a_long_text_is_cut_to_max_length(tiny_bert) -> None:
    (example,) = TEXT.encode("amber " * 1000, TextProcessor.load(tiny_bert))
    assert len(example.inputs["input_ids"]) == 12
