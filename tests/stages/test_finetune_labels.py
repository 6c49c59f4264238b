"""Models and data sets of earlier steps that answer with other labels than the data set in hand."""

import random
import secrets
import shutil

import pytest

from danlu.core.errors import DataError
from danlu.registry.store import Registry
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare

WORDS = {"good": "lovely fine bright warm", "bad": "dull grey cold broken", "mixed": "partly somewhat half maybe"}
TASK = {"text_classification": {"text": "text", "label": "label"}}


def rows(labels, seed=0):
    """Ten texts a label; those of another seed are others."""
    draw = random.Random(seed)
    said = {label: WORDS[label].split() for label in labels}
    return [
        {"text": f"a {' '.join(draw.sample(words, 2))} thing number {seed}{k}", "label": label}
        for label, words in said.items() for k in range(10)
    ]  # fmt: skip


@pytest.fixture
def data(run, given):
    def data(known, seed=0, **task):
        chosen = {"text_classification": TASK["text_classification"] | task}
        split = {"near": None, "validation": 0.2, "test": 0.2}
        return run(Prepare(source=given(rows(known, seed)), task=chosen, split=split))

    return data


def small(**options):
    chosen = {"backbone": {"bert": {"size": "tiny"}}, "steps": 2, "batch_size": 8, "precision": "fp32"}
    return Finetune(**(chosen | options))


@pytest.fixture
def two(run, data):
    """`(dataset, model)` of two labels."""
    made = data(["bad", "good"])
    return made, run(small(), dataset=made)


# ---- a teacher -------------------------------------------------------------------------------------------------------


def test_a_teacher_of_fewer_labels_is_refused_with_what_differs(run, data, two):
    taught = small(techniques=["distill"])
    with pytest.raises(DataError, match=r"2 labels \(bad, good\), here 3 labels \(bad, good, mixed\)") as told:
        run(taught, dataset=data(["bad", "good", "mixed"]), teacher=two[1])
    assert told.value.where == "teacher"
    assert "only here mixed" in told.value.what
    assert "`labels: [bad, good, mixed]` in the task of their data sets" in told.value.do


def test_a_published_teacher_of_other_labels_is_refused(run, store, data, two, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(two[1].path, folder, ignore=shutil.ignore_patterns("manifest.json"))
    name = f"taught-{secrets.token_hex(4)}"
    Registry(store.path).publish(name, folder, metadata={})
    with pytest.raises(DataError, match="only here mixed; only there bad") as told:
        run(small(techniques=["distill"], teacher_version=f"{name}@1"), dataset=data(["good", "mixed"]))
    assert told.value.where == "teacher"


def test_a_teacher_of_more_labels_teaches_once_the_task_names_them(run, data, two):
    """The mend that the error tells."""
    three = data(["bad", "good", "mixed"])
    big, taught = run(small(), dataset=three), small(techniques=["distill"])
    with pytest.raises(DataError, match="only there mixed") as told:
        run(taught, dataset=two[0], teacher=big)
    assert "give the task of this data set those of the other: `labels: [bad, good, mixed]`" in told.value.do
    run(taught, dataset=data(["bad", "good"], labels=["bad", "good", "mixed"]), teacher=big)


def test_another_order_is_told_as_such(run, data, two):
    with pytest.raises(DataError, match="the same labels in another order: bad, good, and good, bad"):
        run(small(techniques=["distill"]), dataset=data(["bad", "good"], labels=["good", "bad"]), teacher=two[1])


# ---- what was learnt earlier -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("technique", ["replay", "ewc"])
def test_earlier_data_of_other_labels_is_refused(run, data, two, technique):
    going_on = small(backbone=None, techniques=[technique])
    three = data(["bad", "good", "mixed"])
    with pytest.raises(DataError, match="only here mixed") as told:
        run(going_on, dataset=three, base=run(small(), dataset=three), before=two[0])
    assert told.value.where == "before"


@pytest.mark.parametrize("technique", ["lwf", "ewc"])
def test_holding_on_to_answers_of_other_labels_is_refused(run, data, two, technique):
    """Its head would begin anew, so what is held on to would be random."""
    three = data(["bad", "good", "mixed"])
    with pytest.raises(DataError, match="only here mixed") as told:
        run(small(backbone=None, techniques=[technique]), dataset=three, base=two[1], before=three)
    assert told.value.where == "base"


def test_a_base_of_other_labels_is_told(run, data, two, heard):
    _, first = two
    model = run(small(backbone=None), dataset=data(["good", "mixed"], seed=1), base=first)
    said = "base answers with other labels (gained mixed; lost bad), so the head begins anew, from random weights"
    assert said in model.manifest["notes"]
    assert said in [event.data.get("text") for event in heard]
    same = run(small(backbone=None), dataset=data(["bad", "good"], seed=1), base=first)
    assert not [note for note in same.manifest["notes"] if "other labels" in note]
