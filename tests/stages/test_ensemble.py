"""Several models as one: by their answers, or by their weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import danlu
from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.core.errors import DanluError, DataError, RecipeError
from danlu.stages.ensemble import Ensemble
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare
from stages.conftest import Given, run_stage

TINY = {"size": "tiny", "tokenizer": {"wordpiece": {"size": 100}}, "dropout": 0.0}


def rows(n=160, labels=("bad", "good")):
    """Reviews one in five of which has the wrong label, so that models differ."""
    words = {"bad": ["awful", "dull", "poor", "slow"], "good": ["lovely", "bright", "fine", "quick"]}
    rng = np.random.default_rng(0)
    found = []
    for k in range(n):
        label = ("bad", "good")[k % 2]
        filling = rng.choice(["the", "a", "film", "plot", "and", "it", "was", "in", "of"], 4)
        told = [*rng.choice(words[label], 2), *filling, f"n{k}"]
        wrong = rng.random() < 0.2
        found.append({"text": " ".join(rng.permutation(told)), "label": labels[(k + wrong) % 2]})
    return found


def prepared(store, table):
    task = {"text_classification": {"text": "text", "label": "label"}}
    return run_stage(store, Prepare(source=Given(table=table), task=task))


@pytest.fixture(scope="module")
def data(store):
    return prepared(store, rows())


@pytest.fixture(scope="module")
def members(store, data):
    chosen = ["naive_bayes", {"tfidf_lr": {"c": 0.1}}, {"fasttext": {"buckets": 500}}, {"text_mlp": TINY}]
    return [run_stage(store, Finetune(backbone=one, steps=20, lr=0.01), dataset=data) for one in chosen]


@pytest.fixture(scope="module")
def started(store, data):
    """Three trainings that began with the weights of a fourth."""
    first = run_stage(store, Finetune(backbone={"text_mlp": TINY}, steps=10), dataset=data)
    how = {"steps": 15, "lr": 0.002, "keep": "last"}
    return [run_stage(store, Finetune(backbone=None, seed=k, **how), dataset=data, base=first) for k in (1, 2, 3)]


def joined(store, data, models, by="mean", heard=None):
    given = {f"$m{k}": model for k, model in enumerate(models, 1)}
    return run_stage(store, Ensemble(models=[str(one.path) for one in models], by=by), heard, dataset=data, **given)


def scores(model, inputs, form="trained"):
    answers = bundle.load(model.path / form)(inputs)
    return np.array([list(answer["scores"].values()) for answer in answers])


def test_the_answers_are_the_mean_of_the_members_and_those_of_none(store, data, members):
    made = joined(store, data, members)
    inputs = [*DataSet.open(data.path).judged("test")[0], "", "unheard of"]
    each = np.array([scores(member, inputs) for member in members])
    found = scores(made, inputs)
    assert np.abs(found - each.mean(0)).max() < 1e-6
    assert all(np.abs(found - one).max() > 0.01 for one in each)
    assert made.numbers["metric"] == "accuracy"


def test_arrays_that_members_share_are_made_once(store, data, members):
    made = joined(store, data, members[:3])
    predictor = bundle.load(made.path / "trained")
    assert sorted(predictor.processor.inputs("a film")) == ["buckets_1", "ids_0", "weights_0"]
    assert json.loads((made.path / "trained" / "ensemble.json").read_text())["read"] == [0, 0, 1]


def test_stacking_listens_to_the_member_that_knows(store, data, members):
    blind = run_stage(store, Finetune(backbone="majority"), dataset=data)
    made = joined(store, data, [blind, members[0]], by="stacking")
    weight = load_file(made.path / "trained" / "model.safetensors")["stack.weight"]
    assert np.abs(weight[1, 2:]).min() > 5 * np.abs(weight[1, :2]).max(), "of two labels the first scores 0"
    inputs = DataSet.open(data.path).judged("test")[0]
    agree = scores(made, inputs).argmax(1) == scores(members[0], inputs).argmax(1)
    assert agree.mean() > 0.9


def test_a_soup_is_the_mean_of_the_weights_and_as_large_as_one(store, data, started):
    made = joined(store, data, started, by="soup")
    each = [load_file(one.path / "trained" / "model.safetensors") for one in started]
    found = load_file(made.path / "trained" / "model.safetensors")
    assert found.keys() == each[0].keys()
    for name, tensor in found.items():
        assert np.allclose(tensor, np.mean([one[name] for one in each], 0), atol=1e-6)
        assert not all(np.array_equal(tensor, one[name]) for one in each)
    assert bundle.describe(made.path / "trained").backbone.name == "text_mlp"


def test_a_greedy_soup_is_no_worse_than_the_best_member(store, data, started):
    far = run_stage(store, Finetune(backbone={"text_mlp": TINY}, steps=1, lr=1e-6, seed=9), dataset=data)
    made = joined(store, data, [far, *started], by="greedy_soup")
    inputs, gold = DataSet.open(data.path).judged("validation")
    true = np.array([answer["label"] == "good" for answer in gold])
    right = [np.mean(scores(one, inputs).argmax(1) == true) for one in (far, *started, made)]
    assert right[-1] == pytest.approx(made.numbers["together"])
    assert right[-1] >= max(right[:-1])
    assert 1 <= len(made.numbers["taken"]) <= 4


def test_weights_that_do_not_mean_the_same_have_no_mean(store, data, members, started):
    with pytest.raises(RecipeError, match="m1 counts, so its weights have no mean"):
        joined(store, data, members[:2], by="soup")
    with pytest.raises(RecipeError, match="different backbones: fasttext and text_mlp"):
        joined(store, data, members[2:], by="soup")


def test_members_with_other_labels_are_named_with_theirs(store, data, members):
    other = prepared(store, rows(labels=("no", "yes")))
    strange = run_stage(store, Finetune(backbone="naive_bayes"), dataset=other)
    with pytest.raises(DataError, match=r"2 labels \(no, yes\), here 2 labels \(bad, good\)"):
        joined(store, data, [members[0], strange])


def test_one_model_twice_and_one_of_other_data(store, data, members):
    with pytest.raises(RecipeError, match="named twice"):
        joined(store, data, [members[0], members[0]])
    heard = []
    other = run_stage(store, Finetune(backbone="naive_bayes"), dataset=prepared(store, rows(120)))
    joined(store, data, [members[1], other], heard=heard)
    assert any("learnt from another data set" in str(event) for event in heard)


def test_a_method_that_keeps_its_parts_is_refused(store, data, members, tiny_bert):
    chosen = {"pretrained": str(tiny_bert)}
    apart = run_stage(store, Finetune(backbone=chosen, method="adapter", steps=1), dataset=data)
    with pytest.raises(RecipeError, match="keeps parts of its method adapter"):
        joined(store, data, [members[0], apart])


def test_it_is_compressed_verified_published_and_asked_like_a_model(tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows()))
    recipe = {
        "name": "many",
        "steps": {
            "data": {"do": "prepare", "source": {"csv": str(table)}, "task": "text_classification"},
            "counted": {"do": "finetune", "backbone": "naive_bayes"},
            "filtered": {"do": "finetune", "backbone": {"text_cnn": TINY}, "steps": 20},
            "whole": {"do": "ensemble", "models": ["$counted", "$filtered"]},
            "small": {"do": "compress"},
            "score": {"do": "evaluate", "baselines": []},
            "same": {"do": "verify", "max_changed": 0.2},
            "ship": {"do": "publish", "alias": "production"},
        },
    }
    run = danlu.run(recipe, store=tmp_path / "store", trackers=[])
    assert run["same"].json("parity.json")["forms"].keys() == {"trained", "onnx", "int8", "http"}
    model = danlu.load("many@production", store=tmp_path / "store")
    assert model.predict(["a lovely bright film"])[0]["label"] == "good"


@pytest.mark.parametrize(
    ("models", "match"),
    [
        ("$a", "models"),
        (["$a"], "at least 2"),
        (None, "whole.models: ensemble needs it"),
        (["$a", "$c"], r"there is no step 'c' above it"),
        (["$a", "$data"], "wants a model, but data makes a dataset"),
    ],
)
def test_the_list_of_models_is_checked(models, match):
    from danlu import recipe

    steps = {"data": {"do": "prepare", "source": "synthetic", "task": "text_classification"}}
    steps |= {name: {"do": "finetune", "backbone": "naive_bayes", "seed": k} for k, name in enumerate("ab")}
    steps["whole"] = {"do": "ensemble", **({"models": models} if models else {})}
    with pytest.raises(DanluError, match=match):
        recipe.load({"steps": steps})
