"""Plug-ins that take a model: a folder, a published version, or the model of a step above."""

import csv

import pytest

import danlu
from danlu import recipe as recipes
from danlu.api import published
from danlu.blocks.dataset import DataSet
from danlu.core.artifact import Store
from danlu.core.errors import DataError, RecipeFaults
from danlu.core.events import Events
from danlu.registry.reproduction import reproduce
from danlu.registry.store import Registry


@pytest.fixture
def data(tmp_path, moods):
    """Rows of the moods, half of them without a label."""
    source = {"synthetic": {"kind": "text", "size": 200}}
    rows = danlu.run(
        {"steps": {"data": {"do": "prepare", "source": source, "task": "text_classification"}}},
        store=moods,
        trackers=[],
    )["data"]
    texts = [row for split in ("train", "test") for row in judged(rows, split)]
    path = tmp_path / "rows.csv"
    with path.open("w") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        out.writerows((text, label if k % 3 else "") for k, (text, label) in enumerate(texts))
    return path


def judged(artifact, split):
    asked, gold = DataSet.open(artifact.path).judged(split)
    return ((text, answer["label"]) for text, answer in zip(asked, gold, strict=True))


def labelling(data, model, **more):
    operators = [{"pseudo_labels": {"model": model, "confidence": 0.6, **more}}]
    return {"do": "prepare", "source": {"csv": str(data)}, "task": "text_classification", "operators": operators}


def run(moods, data, model):
    return danlu.run({"steps": {"data": labelling(data, model)}}, store=moods, trackers=[])


def test_a_version_is_its_folder_and_a_moved_alias_another_model(moods, data):
    registry = Registry(moods)
    made = run(moods, data, "moods@production")
    told = made["data"].manifest["settings"]["operators"][0]["pseudo_labels"]["model"]
    assert told == "moods@2"
    assert run(moods, data, "moods@2").reused == ("data",)
    assert run(moods, data, str(registry.open(registry.resolve("moods@2")))).reused == ("data",)
    registry.move("moods", "production", to=1)
    again = run(moods, data, "moods@production")
    assert again.reused == ()
    assert again["data"].manifest["settings"]["operators"][0]["pseudo_labels"]["model"] == "moods@1"


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("moods@9", "there is no version 9 of moods"),
        ("moods@best", "moods has no alias best; versions: 1 to 2; aliases: production → 2"),
        ("mods@1", "there is no model mods; did you mean moods"),
        ("moods", "there is no .*/moods"),
        ("$tuned", "there is no step 'tuned' above it"),
    ],
)
def test_what_is_not_there_is_a_fault_of_the_recipe(moods, data, model, what):
    recipe = {"steps": {"data": labelling(data, model)}}
    with pytest.raises(RecipeFaults, match=what) as raised:
        danlu.check(recipe, store=moods)
    assert [fault.where for fault in raised.value.faults] == ["data.operators.pseudo_labels.model"]


def test_a_step_of_another_kind_is_no_model(moods, data):
    steps = {"rows": labelling(data, "moods@2"), "data": labelling(data, "$rows")}
    with pytest.raises(RecipeFaults, match="wants a model, but rows makes a dataset"):
        danlu.check({"steps": steps}, store=moods)


def test_a_recipe_that_nobody_tells_of_versions_can_name_none(data):
    with pytest.raises(RecipeFaults, match="moods@2 is a published version, and here is no registry to ask"):
        recipes.load({"steps": {"data": labelling(data, "moods@2")}})


def test_a_damaged_version_is_refused_before_anything_runs(moods, data):
    registry = Registry(moods)
    version = registry.resolve("moods@2")
    name, file = next(iter(version.files.items()))
    for path in (registry.blobs.path(file.sha256), registry.open(version) / name):  # of a copied store no links
        path.chmod(0o600)
        path.write_bytes(b"other")
    with pytest.raises(DataError, match="of moods@2 was changed: its SHA-256 differs"):
        run(moods, data, "moods@2")


def taught(data, model, name="taught"):
    """A recipe that teaches a model on what another one labelled, and publishes it."""
    steps = {
        "first": {"do": "prepare", "source": {"csv": str(data)}, "task": "text_classification"},
        "small": {"do": "finetune", "backbone": "tfidf_lr"},
        "more": labelling(data, model),
        "tuned": {"do": "finetune", "backbone": "tfidf_lr"},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
        "ship": {"do": "publish", "require": {"accuracy": ">= 0"}},
    }
    return {"name": name, "steps": steps}


def test_the_model_of_a_step_above_labels_rows_for_the_next(moods, data):
    made = danlu.run(taught(data, "$small"), store=moods, trackers=[])
    more = made["more"].manifest
    assert more["inputs"]["$small"]["key"] == made["small"].key
    assert more["settings"]["operators"][0]["pseudo_labels"]["model"] == "$small"
    assert made["tuned"].manifest["inputs"]["dataset"]["key"] == made["more"].key
    assert danlu.run(taught(data, "$small"), store=moods, trackers=[]).reused == tuple(made.artifacts)
    other = taught(data, "$small")
    other["steps"]["small"]["seed"] = 1
    other["steps"]["small"]["backbone"] = "majority"
    assert "more" not in danlu.run(other, store=moods, trackers=[]).reused


@pytest.mark.parametrize("model", ["$small", "moods@2"])
def test_what_was_made_with_another_model_comes_out_again(moods, data, tmp_path, model):
    made = danlu.run(taught(data, model), store=moods, trackers=[])
    registry = Registry(moods)
    version = registry.resolve(made.version)
    new = Store(tmp_path / "new")
    told = reproduce(version, registry.open(version), new, Events.silent(), published(moods))
    assert told["same"] is True
    assert len(new.artifacts()) == (4 if model == "$small" else 2)
