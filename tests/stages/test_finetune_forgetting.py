"""How well earlier data sets are answered before and after a training: `remember`."""

import numpy as np
import pytest

from danlu import bundle, recipe
from danlu.blocks.dataset import DataSet
from danlu.core.errors import DataError, RecipeError, RecipeFaults
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare


@pytest.fixture
def other(run):
    """The digits in other splits."""
    return run(Prepare(source="digits", task="image_classification", operators=("drop_duplicates",), seed=1))


def going_on(*remembered, **options):
    """As a recipe gives it: the option holds the folders of the steps that it names."""
    chosen = {"steps": 3, "batch_size": 64, "lr": 0.03, "precision": "fp32", "schedule": "constant", "keep": "last"}
    return Finetune(**(chosen | {"remember": [str(one.path) for one in remembered]} | options))


def accuracy(model, data, split):
    inputs, gold = DataSet.open(data.path).judged(split)
    answers = bundle.load(model.path / "trained")(inputs)
    return np.mean([a["label"] == g["label"] for a, g in zip(answers, gold, strict=True)])


def warnings(heard):
    return [event.data["text"] for event in heard if event.kind == "warning"]


def test_the_test_rows_of_several_are_asked_before_and_after(run, digits, other, heard):
    data, first = digits
    inputs = {"$old": data, "$older": other}
    model = run(going_on(data, other, remember_on="test"), dataset=other, base=first, **inputs)
    forgotten = model.numbers["forgetting"]
    assert list(forgotten) == ["old", "older"]
    for told, rows in zip(forgotten.values(), (data, other), strict=True):
        assert (told["metric"], told["split"]) == ("accuracy", "test")
        assert told["before"] == pytest.approx(accuracy(first, rows, "test"))
        assert told["after"] == pytest.approx(accuracy(model, rows, "test"))
        assert told["lost"] == pytest.approx(told["before"] - told["after"]) != 0
    assert any("accuracy on the test rows of older" in str(event.data.get("text")) for event in heard)
    shared = [text for text in warnings(heard) if "are training rows of this step as well" in text]
    assert len(shared) == 1, "the data set that is learnt keeps its own test rows apart"
    assert "test rows of old " in shared[0]


def test_before_is_asked_too_and_each_is_asked_once(run, digits, other):
    data, first = digits
    given = {"dataset": data, "base": first, "$other": other}
    both = run(going_on(other, techniques=["replay"]), before=data, **given)
    assert list(both.numbers["forgetting"]) == ["my_prepare", "other"]
    told = both.numbers["forgetting"]["other"]
    assert told["split"] == "validation"
    assert told["before"] == pytest.approx(accuracy(first, other, "validation"))
    once = run(going_on(other), before=other, **given)
    assert list(once.numbers["forgetting"]) == ["other"]


def test_what_was_not_learnt_can_not_be_forgotten(run, digits, other):
    data, first = digits
    fresh = going_on(data, backbone={"cnn": "tiny"}, lr=0.001)
    with pytest.raises(RecipeError, match="told of a model that is gone on from"):
        run(fresh, dataset=data, **{"$old": data})
    named = tuple("abcdefghij")
    lettered = run(Prepare(source="digits", task={"image_classification": {"labels": [*map(str, range(10)), "x"]}}))
    assert named
    with pytest.raises(DataError, match="only there x") as told:
        run(going_on(lettered), dataset=data, base=first, **{"$old": lettered})
    assert told.value.where == "remember"


def test_test_rows_that_were_changed_are_refused(run, digits, other, monkeypatch):
    data, first = digits

    def changed(self):
        raise DataError("its rows are not those that were frozen")

    monkeypatch.setattr(DataSet, "check", changed)
    with pytest.raises(DataError, match="not those that were frozen"):
        run(going_on(other, remember_on="test"), dataset=data, base=first, **{"$other": other})


RECIPE = """
name: x
steps:
  old: {do: prepare, source: {synthetic: {kind: text, seed: 1}}, task: text_classification}
  first: {do: finetune, backbone: {bert: tiny}, steps: 1}
  new: {do: prepare, source: {synthetic: {kind: text, seed: 2}}, task: text_classification}
  second: {do: finetune, base: $first, remember: %s, steps: 1}
"""


def load(tmp_path, remember):
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE % remember)
    return recipe.load(path).steps[-1]


def test_a_recipe_names_them_by_their_steps(tmp_path):
    step = load(tmp_path, "[$old, $new]")
    assert step.inputs == {"dataset": "new", "base": "first", "$old": "old", "$new": "new"}
    assert step.stage.plain()["finetune"]["remember"] == ["$old", "$new"]


@pytest.mark.parametrize(
    ("remember", "what"),
    [
        ("[$first]", "wants a dataset, but first makes a model"),
        ("[$oldest]", "there is no step 'oldest' above it"),
        ("[nowhere]", "there is no .*nowhere"),
    ],
)
def test_what_is_no_data_set_is_a_fault_of_the_recipe(tmp_path, remember, what):
    with pytest.raises((RecipeError, RecipeFaults), match=what):
        load(tmp_path, remember)
