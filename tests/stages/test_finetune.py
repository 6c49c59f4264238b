"""From a data set to a model: what is trained, kept, saved, said, and gone on with after a kill."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch

from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.bundle import Forms
from danlu.contracts import Technique
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events
from danlu.stages.finetune import Finetune


class Power(Technique):
    """Lets a test cut the power in a step; it changes nothing, and is not seen in the settings."""

    cut_in: ClassVar[int | None] = None

    def after_step(self, run):
        if run.step == self.cut_in:
            raise InterruptedError("the power was cut")


@pytest.fixture(scope="module")
def sentences(texts):
    """Made-up sentences with two labels, a tenth of them wrong."""
    return texts[0]


def small(**options):
    """A training of a small picture network that takes a second."""
    chosen = {"backbone": {"cnn": "tiny"}, "steps": 8, "batch_size": 64, "lr": 0.004, "precision": "fp32"}
    return Finetune(**(chosen | options))


def of_bert(folder, **options):
    chosen = {"backbone": {"pretrained": str(folder)}, "steps": 10, "batch_size": 16, "precision": "fp32"}
    return Finetune(**(chosen | options))


def right(artifact, data, form=None) -> float:
    forms = Forms.open(artifact.path)
    inputs, gold = DataSet.open(data.path).judged("test")
    answers = bundle.load(forms.folder(form or forms.default))(inputs)
    return float(np.mean([a["label"] == g["label"] for a, g in zip(answers, gold, strict=True)]))


def test_it_learns_saves_and_answers(digits):
    data, model = digits
    assert right(model, data) > 0.9
    assert Forms.open(model.path).names == ("trained",)
    module, *_ = bundle.load_module(model.path / "trained")
    assert not module.training


def test_what_is_said_of_a_training(run, digits, heard):
    model = run(small(epochs=1, steps=None, evaluate_every=10), dataset=digits[0])
    numbers = model.numbers
    assert (numbers["steps"], numbers["epochs"], numbers["precision"]) == (20, 1.0, "fp32")
    assert numbers["trained_share"] == 1.0
    assert numbers["trained_parameters"] == numbers["parameters"] > 1000
    assert numbers["lr"] == {"highest": 0.004, "schedule": "linear", "warmup": 0.06}
    assert [step for step, _ in numbers["validation"]["looks"]] == [10, 20]
    assert numbers["examples_per_s"] > 0
    assert numbers["loss"][-1][1] < numbers["loss"][0][1]
    assert json.dumps(numbers)
    progress = {event.data["what"]: event.data for event in heard if event.kind == "progress"}
    assert {"encoding train", "encoding validation", "train"} <= progress.keys()
    assert all(told["done"] == told["total"] for told in progress.values())


def test_the_same_seed_makes_the_same_artifact_and_another_one_another(run, digits):
    first, again, other = (run(small(seed=seed), dataset=digits[0]) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("backbone", ["cnn", "bert"])
def test_a_training_that_was_cut_goes_on_with_the_same_result(
    store, digits, sentences, tiny_bert, monkeypatch, backbone
):
    common = {"checkpoint_steps": 3, "techniques": (Power(),), "evaluate_every": 4}
    stage = small(**common) if backbone == "cnn" else of_bert(tiny_bert, lr=1e-3, **common)
    inputs = {"dataset": digits[0] if backbone == "cnn" else sentences}

    def attempt(key):
        draft = store.draft(f"{backbone}-{key}", kind="model")
        try:
            stage.run(inputs, draft, Events.silent())
        except InterruptedError:
            draft.abandon()
            return None
        return draft.commit()

    whole = attempt("whole")
    monkeypatch.setattr(Power, "cut_in", 5)
    assert attempt("cut") is None
    monkeypatch.setattr(Power, "cut_in", None)
    resumed = attempt("cut")
    assert resumed.digest == whole.digest
    assert resumed.manifest["notes"] == [f"resumed at step 3 of {stage.steps}"]
    assert whole.manifest["notes"] == []


def test_lora_gives_the_merged_form_where_it_is_wanted(run, sentences, tiny_bert):
    model = run(of_bert(tiny_bert, method={"lora": {"rank": 4}}, steps=30, merge=True), dataset=sentences)
    forms = Forms.open(model.path)
    assert (forms.names, forms.default) == (("trained", "merged"), "merged")
    assert forms.spec("merged").of == "trained"
    inputs, _ = DataSet.open(sentences.path).judged("test")
    task = DataSet.open(sentences.path).task
    answers = [bundle.load(forms.folder(name))(inputs) for name in forms.names]
    assert max(task.distance(a, b) for a, b in zip(*answers, strict=True)) <= forms.spec("merged").tolerance
    assert model.numbers["trained_share"] < 0.5
    assert bundle.describe(forms.folder("trained")).parts[0].name == "lora"
    assert bundle.describe(forms.folder("merged")).parts == []


def test_the_learning_rate_is_the_methods_own_on_pretrained_weights(run, digits, sentences, tiny_bert):
    assert run(of_bert(tiny_bert, steps=2), dataset=sentences).numbers["lr"]["highest"] == 5e-5
    assert run(of_bert(tiny_bert, steps=2, method="lora"), dataset=sentences).numbers["lr"]["highest"] == 1e-3
    assert run(small(steps=2, lr=None), dataset=digits[0]).numbers["lr"]["highest"] == 1e-3
    assert run(of_bert(tiny_bert, steps=2, lr=2e-4), dataset=sentences).numbers["lr"]["highest"] == 2e-4


def test_a_metric_may_decide_which_weights_are_best(run, digits):
    model = run(small(steps=40, watch="accuracy", evaluate_every=10, lr=0.02), dataset=digits[0])
    told = model.numbers["validation"]
    assert told["of"] == "accuracy"
    assert told["best"] == max(number for _, number in told["looks"]) > 0.3
    inputs, gold = DataSet.open(digits[0].path).judged("validation")
    answers = bundle.load(model.path / "trained")(inputs)
    found = np.mean([a["label"] == g["label"] for a, g in zip(answers, gold, strict=True)])
    assert found == pytest.approx(told["best"], abs=1e-6)


def test_a_metric_of_parts_is_read_by_its_value(run, digits):
    told = run(small(watch="f1"), dataset=digits[0]).numbers["validation"]
    assert (told["of"], len(told["looks"])) == ("f1", 1)


def test_a_metric_that_judges_no_answers_is_refused(run, digits):
    with pytest.raises(RecipeError, match="latency is no metric of answers"):
        run(small(watch="latency"), dataset=digits[0])


def test_a_model_that_counts_goes_the_same_way(run, sentences):
    model = run(Finetune(backbone="tfidf_lr"), dataset=sentences)
    assert right(model, sentences) > 0.9
    assert (model.numbers["steps"], model.numbers["validation"]["best_step"]) == (1, 1)
    majority = run(Finetune(backbone="majority"), dataset=sentences)
    assert majority.numbers["epochs"] == 1.0


def test_options_without_effect_on_a_model_that_counts_are_told(run, sentences, heard):
    def told(backbone, **options):
        run(Finetune(backbone=backbone, **options), dataset=sentences)
        return [event.data["text"] for event in heard if "without effect" in event.data.get("text", "")]

    options = {"steps": 3, "batch_size": 16, "lr": 0.1}
    assert told("tfidf_lr", **options) == [
        "tfidf_lr does not descend a gradient, so without effect: lr, steps, batch_size"
    ]
    assert told("majority", **options) == ["majority does not descend a gradient, so without effect: lr"]
    assert told("majority", batch_size=16) == told("tfidf_lr") == []


def test_techniques_reach_the_training(run, digits):
    plain = run(small(), dataset=digits[0])
    held = run(small(techniques=(Halved(),)), dataset=digits[0])
    assert held.digest != plain.digest


class Halved(Technique):
    """Half of every loss."""

    def loss(self, loss, run):
        assert run.backbone.name == "cnn"
        return loss / 2


def test_a_row_that_cannot_be_read_is_named(run, digits, monkeypatch):
    from danlu.plugins.tasks.image_classification import ImageClassification

    real = ImageClassification.examples
    seen = []

    def examples(self, row, processor):
        seen.append(row)
        if len(seen) == 7:
            raise DataError("it is no picture", do="replace it")
        return real(self, row, processor)

    monkeypatch.setattr(ImageClassification, "examples", examples)
    with pytest.raises(DataError, match="train row 7: it is no picture"):
        run(small(), dataset=digits[0])


def test_weights_do_not_depend_on_what_was_drawn_before(run, digits):
    torch.manual_seed(5)
    first = run(small(steps=2), dataset=digits[0])
    torch.manual_seed(6)
    torch.rand(10)
    assert run(small(steps=2), dataset=digits[0]).digest == first.digest
