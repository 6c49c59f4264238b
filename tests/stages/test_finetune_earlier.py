"""Going on from a trained model, learning from a teacher, and not forgetting earlier rows."""

import json

import numpy as np
import pytest
import torch

from danlu import bundle, recipe
from danlu.blocks import earlier
from danlu.blocks.dataset import DataSet
from danlu.bundle import Forms
from danlu.core.errors import DataError, RecipeError
from danlu.registry.store import Registry
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare


def going_on(**options):
    chosen = {"steps": 2, "batch_size": 64, "lr": 1e-5, "precision": "fp32"}
    return Finetune(**(chosen | options))


def student(**options):
    chosen = {"backbone": {"cnn": "tiny"}, "steps": 4, "batch_size": 64, "lr": 0.004, "precision": "fp32"}
    return Finetune(**(chosen | options))


def test_it_goes_on_with_the_weights_of_the_start(run, digits):
    data, first = digits
    model = run(going_on(), dataset=data, base=first)
    before, after = (bundle.load_module(m.path / "trained")[0].state_dict() for m in (first, model))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-3, rtol=0)
    manifest = json.loads((model.path / "manifest.json").read_text())
    assert set(manifest["inputs"]) == {"dataset", "base"}


def test_other_labels_get_a_head_of_their_own(run, digits, tmp_path):
    data, first = digits
    named = DataSet.open(data.path).task.model_copy(update={"labels": tuple("abcdefghij")})
    base = earlier.Base.of(first.path, tmp_path / "plain")
    torch.manual_seed(0)
    module, fresh = base.start(named.head(), base.backbone.processor(base.folder))
    before, after = bundle.load_module(first.path / "trained")[0].state_dict(), module.state_dict()
    head = [name for name in after if name in fresh]
    assert 0 < len(head) < len(after) / 2
    assert all(torch.equal(before[name], after[name]) == (name not in head) for name in after)
    same, nothing = base.start(base.head, base.backbone.processor(base.folder))
    assert nothing == []
    assert all(torch.equal(before[name], tensor) for name, tensor in same.state_dict().items())


def test_it_goes_on_with_another_dropout(run, digits, tmp_path):
    data, first = digits
    model = run(going_on(dropout=0.25), dataset=data, base=first)
    before, after = (bundle.load_module(m.path / "trained")[0] for m in (first, model))
    rates = [{part.p for part in m.modules() if isinstance(part, torch.nn.Dropout)} for m in (before, after)]
    assert rates[1] == {0.25} != rates[0]
    for name, tensor in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], tensor, atol=1e-3, rtol=0)
    base = earlier.Base.of(first.path, tmp_path / "plain", 0.25)
    module, fresh = base.start(base.head, base.backbone.processor(base.folder))
    assert fresh == []
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.state_dict().items())


def test_dropout_is_the_backbones_where_there_is_no_base(run, digits):
    data, _ = digits
    with pytest.raises(RecipeError, match="dropout goes with base"):
        run(student(dropout=0.25), dataset=data)


def test_a_base_without_dropout_is_told(run, digits):
    data, _ = digits
    counted = run(Finetune(backbone="majority"), dataset=data)
    with pytest.raises((RecipeError, DataError), match="majority has no dropout"):
        run(going_on(dropout=0.25), dataset=data, base=counted)


def test_what_was_forgotten_is_told(run, digits, heard):
    data, first = digits
    model = run(going_on(techniques=["replay", {"ewc": {"rows": 5}}]), dataset=data, base=first, before=data)
    (told,) = model.numbers["forgetting"].values()
    assert list(model.numbers["forgetting"]) == ["my_prepare"]
    assert told["metric"] == "accuracy"
    assert told["before"] > 0.9
    assert told["lost"] == pytest.approx(told["before"] - told["after"])
    assert abs(told["lost"]) < 0.05
    assert any("on the validation rows of my_prepare" in str(e.data.get("text")) for e in heard if e.kind == "note")
    fresh = run(student(), dataset=data, before=data)
    assert "forgetting" not in fresh.numbers


def test_a_teacher_of_any_form_teaches_a_student(run, digits, small):
    """The teacher's default form is int8 ONNX; the student reads pictures as it does, and learns without labels."""
    data, _ = digits
    assert Forms.open(small.path).default != "trained"
    taught = student(techniques=[{"distill": {"weight": 1.0}}], steps=120)
    model = run(taught, dataset=data, teacher=small)
    inputs, gold = DataSet.open(data.path).judged("validation")
    answers = bundle.load(model.path / "trained")(inputs)
    assert np.mean([a["label"] == g["label"] for a, g in zip(answers, gold, strict=True)]) > 0.85


def test_a_published_version_teaches(run, store, digits, tmp_path):
    data, first = digits
    registry = Registry(store.path)
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in first.manifest["files"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(first.file(name).read_bytes())
    registry.publish("big-digits", folder, metadata={})
    by_version = run(student(techniques=["distill"], teacher_version="big-digits@1"), dataset=data)
    by_step = run(student(techniques=["distill"]), dataset=data, teacher=first)
    one, two = (bundle.load_module(m.path / "trained")[0].state_dict() for m in (by_version, by_step))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(RecipeError, match="there is no version 7 of big-digits"):
        run(student(techniques=["distill"], teacher_version="big-digits@7"), dataset=data)
    with pytest.raises(ValueError, match="teacher_version"):
        student(teacher_version="big-digits@production")


def test_a_teacher_needs_a_listener_and_a_listener_a_teacher(run, digits):
    data, first = digits
    with pytest.raises(RecipeError, match="nothing in this step learns from a teacher"):
        run(student(), dataset=data, teacher=first)
    with pytest.raises(RecipeError, match="there are two teachers"):
        run(student(techniques=["distill"], teacher_version="big-digits@1"), dataset=data, teacher=first)
    with pytest.raises(RecipeError, match="'teacher' is wanted beside the trained one"):
        run(student(techniques=["distill"]), dataset=data)
    with pytest.raises(RecipeError, match="lwf holds on to what the model said before, and this one is new"):
        run(student(techniques=["lwf"]), dataset=data)


@pytest.fixture
def bert(run):
    """Few sentences, and a small BERT on them."""
    data = run(Prepare(source={"synthetic": {"kind": "text", "size": 200}}, task="text_classification"))
    return data, run(Finetune(backbone={"bert": {}}, steps=2, precision="fp32"), dataset=data)


def test_a_student_from_scratch_takes_over_the_teachers_vocabulary(run, bert):
    data, first = bert
    taught = Finetune(backbone={"bert": {}}, steps=2, precision="fp32", techniques=["distill"])
    model = run(taught, dataset=data, teacher=first)
    ours, theirs = ((m.path / "trained" / "tokenizer.json").read_bytes() for m in (model, first))
    assert ours == theirs


def test_a_teacher_of_another_vocabulary_is_refused(run, bert):
    data, _ = bert
    counting = run(Finetune(backbone="tfidf_lr"), dataset=data)
    taught = Finetune(backbone={"bert": {}}, steps=2, precision="fp32", techniques=["distill"])
    with pytest.raises(DataError, match="another vocabulary or scale"):
        run(taught, dataset=data, teacher=counting)


def test_layers_of_another_width_teach_and_leave_no_trace(run, bert):
    """What drew the student's hidden states to the teacher's is not in the model that is saved."""
    data, first = bert
    features = {"distill": {"features": {"hidden": 1.0, "attention": 1.0}}}
    chosen = {"backbone": {"bert": "mini"}, "steps": 2, "precision": "fp32"}
    models = [run(Finetune(**chosen, techniques=[one]), dataset=data, teacher=first) for one in (features, "distill")]
    inside, plain = (bundle.load_module(m.path / "trained")[0].state_dict() for m in models)
    assert inside.keys() == plain.keys()
    assert any(not torch.allclose(inside[name], plain[name], atol=1e-5) for name in inside)


def test_a_teacher_without_such_layers_is_told_by_its_trained_form(run, digits, small):
    data, _ = digits
    with pytest.raises(RecipeError, match="the teacher gives no hidden, it gives logits"):
        run(student(techniques=[{"distill": {"features": {"hidden": 1.0}}}]), dataset=data, teacher=small)
    forms = Forms.open(small.path)
    only = Forms(small.path, forms.default, {name: spec for name, spec in forms.specs.items() if name != "trained"})
    with pytest.raises(RecipeError, match="gives only logits, its layers can't be asked: it has the forms"):
        earlier._with_layers(only)


RECIPE = """
name: x
steps:
  old: {do: prepare, source: synthetic, task: text_classification}
  first: {do: finetune, backbone: tfidf_lr}
  new: {do: prepare, source: synthetic, task: text_classification}
  second: {do: finetune, backbone: {bert: {}}, techniques: [ema]%s}
"""


def test_these_inputs_are_only_what_the_recipe_names(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE % "")
    assert recipe.load(path).steps[-1].inputs == {"dataset": "new"}
    going_on = RECIPE.replace("backbone: tfidf_lr", "backbone: {bert: {}}", 1).replace(
        ", backbone: {bert: {}}, techniques", ", techniques"
    )
    path.write_text(going_on % ", teacher: $first, before: $old, base: $first")
    named = recipe.load(path).steps[-1].inputs
    assert named == {"dataset": "new", "teacher": "first", "before": "old", "base": "first"}
    path.write_text(RECIPE % ", teacher: $old")
    with pytest.raises(RecipeError, match="wants a model, but old makes a dataset"):
        recipe.load(path)
    path.write_text(RECIPE % ", base: $first")
    with pytest.raises(RecipeError, match="base already says what backbone would"):
        recipe.load(path)


def test_facts_of_a_teacher_bind_nobody(tmp_path):
    """A teacher that counts may teach one that descends."""
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE % ", method: lora, teacher: $first")
    assert recipe.load(path).steps[-1].inputs["teacher"] == "first"
