import sys
from pathlib import Path

import pytest

from danlu import recipe
from danlu.core import artifact
from danlu.core.artifact import Store
from danlu.core.document import parse
from danlu.registry import facts

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))
import publishing


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def inputs(store):
    return publishing.line(store)


def ancestors(store, inputs):
    return facts.ancestors(inputs.values(), store)


def gather(store, inputs, **options):
    scores = inputs["scores"].json("scores.json") if "scores" in inputs else None
    parity = inputs["parity"].json("parity.json") if "parity" in inputs else None
    return facts.gather(ancestors(store, inputs), scores, parity, default="int8", **options)


def test_ancestors_are_told_once_parents_first(store, inputs):
    assert [a.manifest["step"] for a in ancestors(store, inputs)] == ["data", "tuned", "small", "score", "same"]


def test_a_parent_that_was_cleaned_away_is_left_out(store, inputs):
    artifact.remove(ancestors(store, inputs)[0].path)
    assert [a.manifest["step"] for a in ancestors(store, inputs)] == ["tuned", "small", "score", "same"]
    assert gather(store, inputs)["task"] == ""


def test_the_sample_of_the_served_form_goes_with_the_version(store, inputs):
    scores, parity = inputs["scores"].json("scores.json"), inputs["parity"].json("parity.json")
    assert "sample" not in facts.gather(ancestors(store, inputs), scores, parity, default="int8")
    sample = [{"input": "amber", "answer": {"label": "good"}}]
    about = facts.gather(ancestors(store, inputs), scores, {**parity, "sample": sample}, default="int8")
    assert about["sample"] == sample


def test_everything_that_was_measured(store, inputs):
    about = gather(store, inputs, recipe="name: x\n")
    assert about["task"] == "text_classification"
    assert about["labels"] == ["bad", "good"]
    assert about["recipe"] == "name: x\n"
    assert about["training"] == {"epochs": 2.0, "lr.highest": 5e-5}
    assert about["data"] == {
        "source": 'asset {"name": "movie-snippets"}', "fingerprint": "c" * 64, "licence": "MIT",
        "splits": {"train": {"rows": 700, "digest": "a" * 64}, "validation": {"rows": 100, "digest": ""},
                   "test": {"rows": 200, "digest": "b" * 64}},
    }  # fmt: skip
    trained, int8, http = about["forms"]
    accuracy = {"value": 0.9, "low": pytest.approx(0.89), "high": pytest.approx(0.91)}
    common = {"metrics": {"accuracy": accuracy}, "bytes": 1_500_000, "latency_ms": {"1": 2.0, "32": 1.0}}
    parity = {"rows": 200, "greatest": 0.02, "p99": 0.01, "tolerance": 0.05, "labels_changed": 0.005, "passed": True}
    assert trained == {"name": "trained", "default": False, **common}
    assert int8 == {"name": "int8", "default": True, **common, "parity": parity | {"against": "trained"}}
    assert http["parity"]["against"] == "int8"
    assert about["baselines"] == [
        {"name": "majority", "metrics": {"accuracy": {"value": 0.5, "low": pytest.approx(0.49), "high": pytest.approx(0.51)}}}
    ]  # fmt: skip
    assert [(asset["name"], asset["licence"]) for asset in about["assets"]] == [
        ("minilm", "Apache-2.0"), ("movie-snippets", "MIT"),
    ]  # fmt: skip
    assert {"os", "python", "cpu", "threads", "memory_total"} <= about["machine"].keys()
    assert "Something to know." in about["limits"]


def test_data_and_training_are_the_models_own(store):
    """Not those of what it began with or learnt from, which stand before it in the line."""

    def made(step, label, **inputs):
        kind = {"task": {"text_classification": {"labels": [label]}}, "rows": {"train": len(label)}}
        return publishing.artifact(store, "dataset", step, {"dataset.json": kind}, **inputs)

    def trained(step, seconds, **inputs):
        return publishing.artifact(store, "model", step, {"x.json": step}, numbers={"seconds": seconds}, **inputs)

    old, new, big = made("old", "a"), made("new", "bb"), made("big", "ccc")
    first, teacher = trained("first", 1.0, dataset=old), trained("taught", 2.0, dataset=big)
    second = trained("second", 3.0, base=first, before=old, dataset=new, teacher=teacher)
    small = trained("small", 4.0, dataset=new, model=second)
    line = facts.ancestors([second], store)
    assert [a.manifest["step"] for a in line] == ["old", "first", "new", "big", "taught", "second"]
    for whole in (line, facts.ancestors([small], store)):
        about = facts.gather(whole, None, None, default="trained")
        assert (about["labels"], about["training"]) == (["bb"], {"seconds": 3.0})
        assert about["data"]["splits"]["train"]["rows"] == 2


def test_without_verify_the_evaluated_form_is_told(store, inputs):
    del inputs["parity"]
    about = gather(store, inputs)
    assert [form["name"] for form in about["forms"]] == ["int8"]
    assert about["forms"][0]["bytes"] == 1_500_000
    assert "parity" not in about["forms"][0]


def test_nothing_is_made_up(store, inputs):
    about = gather(store, {"model": inputs["model"]})
    assert (about["forms"], about["baselines"]) == ([], [])
    assert len(about["limits"]) == 2
    alone = facts.gather([publishing.artifact(store, "model", "m", {"x.json": {}})], None, None, default="trained")
    assert (alone["task"], alone["labels"], alone["assets"], alone["training"]) == ("", [], [], {})
    assert alone["data"] == {"source": "", "fingerprint": "", "splits": {}}


def test_a_metric_without_an_interval_is_a_number(store, inputs):
    scores = inputs["scores"].json("scores.json")
    scores["metrics"]["odd"] = {"value": 0.5, "low": None, "high": None, "parts": {}}
    about = facts.gather(ancestors(store, inputs), scores, None, default="int8")
    assert about["forms"][0]["metrics"]["odd"] == 0.5
    assert set(about["forms"][0]["metrics"]) == {"accuracy", "odd"}, "confusion has no number, size its own column"


# ---- the recipe as it was run --------------------------------------------------------------------------------------


def test_the_recipe_names_where_every_input_came_from(store, inputs):
    last = {"step": "ship", "stage": "publish", "settings": {"name": "x"}, "inputs": {
        "model": {"key": inputs["model"].key}, "scores": {"key": "gone"},
    }}  # fmt: skip
    text = facts.recipe_text("x", ancestors(store, inputs), last)
    steps = parse(text, "recipe")["steps"]
    assert list(steps) == ["data", "tuned", "small", "score", "same", "ship"]
    assert steps["small"] == {
        "do": "compress", "dataset": "$data", "model": "$tuned", "by": [{"int8": {}}], "seed": 0,
    }  # fmt: skip
    assert steps["ship"] == {"do": "publish", "model": "$small", "name": "x"}


def test_steps_of_one_name_from_two_recipes_are_told_apart(store):
    one = publishing.artifact(store, "dataset", "data", {"a.txt": "1"})
    two = publishing.artifact(store, "model", "data", {"a.txt": "2"}, dataset=one)
    last = {"step": "ship", "stage": "publish", "settings": {}, "inputs": {"model": {"key": two.key}}}
    steps = parse(facts.recipe_text("x", [one, two], last), "recipe")["steps"]
    assert steps == {
        "data": {"do": "dataset"}, "data_": {"do": "model", "dataset": "$data"}, "ship": {"do": "publish", "model": "$data_"},
    }  # fmt: skip


def test_the_recipe_on_a_card_runs_again_and_finds_everything_there(digits_run):
    """The same keys: so it is the recipe that was run, whole, with nothing added."""
    from danlu.registry.store import Registry

    version = Registry(digits_run.store.path).resolve("digits")
    read = recipe.load(parse(version.metadata["recipe"], "card"))
    previews = read.plan().preview(digits_run.store)
    assert {preview.step.name: preview.key for preview in previews} == {
        name: artifact.key for name, artifact in digits_run.artifacts.items()
    }
