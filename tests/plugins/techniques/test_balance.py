"""Each makes up for rare labels by the known amount, and says so when it would do nothing."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from danlu import recipe
from danlu.contracts import Example
from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.plugins.techniques.class_weights import ClassWeights
from danlu.plugins.techniques.focal_loss import FocalLoss
from danlu.plugins.techniques.logit_adjustment import LogitAdjustment
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.settings import TrainSettings

TASK = TextClassification(text="text", label="label", labels=("common", "rare"))


def conforming(folder):
    return {"class_weights": {"weights": {"positive": 3.0}}, "logit_adjustment": {"target": {"positive": 9.0}}}


class Numbers:
    pad = {}


class Linear(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.line = nn.Linear(features, 2)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, x):
        return {"logits": self.line(x)}


def overlapping(common, rare, seed=0, blind=False):
    """Two clouds of numbers that overlap, or, blind, the same number for all."""
    rng = np.random.default_rng(seed)
    made = []
    for label, count in ((0, common), (1, rare)):
        for _ in range(count):
            x = np.ones(1) if blind else rng.normal(1.5 * label, 1, 2)
            made.append(Example({"x": x.astype(np.float32)}, {"label": np.int64(label)}))
    return made


def trained(train, techniques=(), heard=None, **options):
    settings = {"steps": 120, "lr": 0.15, "batch_size": 512, "precision": "fp32", "weight_decay": 0.0, "clip": None}
    module = Linear(len(train[0].inputs["x"]))
    events = Events([heard.append] if heard is not None else [], "train")
    fit(
        Job(
            module,
            TASK,
            Numbers(),
            train,
            settings=TrainSettings(**settings | options),
            techniques=techniques,
            events=events,
        )
    )
    return module


def recalls(module, test):
    answers = [int(module(torch.tensor(e.inputs["x"])[None])["logits"].argmax()) for e in test]
    truth = np.array([int(e.targets["label"]) for e in test])
    return [float(np.mean(np.array(answers)[truth == label] == label)) for label in (0, 1)]


@pytest.mark.parametrize("technique", [ClassWeights(), LogitAdjustment()], ids=lambda t: t.name)
def test_the_recall_of_the_rare_label_goes_up(technique):
    train, test = overlapping(380, 20), overlapping(300, 300, seed=1)
    without, balanced = recalls(trained(train), test), recalls(trained(train, (technique,)), test)
    assert without[1] < 0.5 < 0.7 < balanced[1]
    assert sum(balanced) > sum(without) + 0.2


def log_odds(module):
    logits = module(torch.ones(1, 1))["logits"][0].detach()
    return float(logits[1] - logits[0])


def test_what_a_blind_model_gives_is_shifted_by_the_known_amount():
    """A model that sees nothing learns the labels' log-odds: 10 : 90 without, 0 with, and in between with half."""
    train = overlapping(90, 10, blind=True)
    plain = math.log(10 / 90)
    assert log_odds(trained(train)) == pytest.approx(plain, abs=0.02)
    for technique, expected in (
        (ClassWeights(), 0),
        (ClassWeights(power=0.5), plain / 2),
        (ClassWeights(weights={"rare": 3.0}), plain + math.log(3)),
        (LogitAdjustment(), 0),
        (LogitAdjustment(tau=0.5), plain / 2),
        (LogitAdjustment(target={"common": 2.0, "rare": 1.0}), -math.log(2)),
    ):
        assert log_odds(trained(train, (technique,))) == pytest.approx(expected, abs=0.02), technique


def test_focal_loss_is_the_papers():
    """Value and gradient of -(1 - p)^gamma log p, at random logits."""

    class Run:
        task, name = TASK, "x"

    logits = torch.randn(7, 2, requires_grad=True)
    truth = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    run = Run()
    run.outputs = {"logits": logits}
    run.batch = type("Batch", (), {"targets": {"label": truth}})
    plain = nn.functional.cross_entropy(logits, truth, reduction="none")
    made = FocalLoss(gamma=1.5).loss(plain, run)
    p = logits.softmax(-1)[range(7), truth]
    expected = -((1 - p) ** 1.5) * p.log()
    torch.testing.assert_close(made, expected)
    for one, other in zip(
        *(torch.autograd.grad(x.sum(), logits, retain_graph=True) for x in (made, expected)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_focal_loss_draws_the_confidence_to_the_middle_and_stands_beside_weights():
    train = overlapping(90, 10, blind=True)
    alone = log_odds(trained(train, (FocalLoss(),)))
    assert math.log(10 / 90) + 0.5 < alone < 0
    both = log_odds(trained(train, (FocalLoss(), ClassWeights())))
    assert both == pytest.approx(0, abs=0.02)


def test_what_would_change_nothing_is_refused():
    equal = overlapping(20, 20)
    for technique, match in ((ClassWeights(), "the same weight"), (LogitAdjustment(), "as common as they shall be")):
        with pytest.raises(RecipeError, match=match):
            trained(equal, (technique,))
    with pytest.raises(RecipeError, match="the same weight"):
        trained(equal, (ClassWeights(weights={"rare": 1.0}),))


def test_labels_that_do_not_exist_are_named():
    with pytest.raises(RecipeError, match="no label 'raer'; the labels are: common, rare"):
        trained(overlapping(20, 10), (ClassWeights(weights={"raer": 2.0}),))
    with pytest.raises(RecipeError, match="no label 'raer'"):
        trained(overlapping(20, 10), (LogitAdjustment(target={"raer": 2.0}),))


def test_several_labels_an_example_are_refused():
    several = [Example(e.inputs, {"label": np.array([1.0, 0.0], np.float32)}) for e in overlapping(3, 3)]
    for technique in (ClassWeights(), FocalLoss(), LogitAdjustment()):
        with pytest.raises(RecipeError, match="exactly one label each"):
            trained(several, (technique,))


def test_it_says_which_label_is_rare():
    heard = []
    trained(overlapping(30, 10), (ClassWeights(),), heard, steps=1)
    assert [e.data["text"] for e in heard if e.kind == "note"] == [
        "class_weights: 'rare' (10 rows) 2, 'common' (30 rows) 0.667"
    ]


RECIPE = """
name: x
steps:
  data: {{do: prepare, source: synthetic, task: {task}}}
  tuned: {{do: finetune, backbone: {backbone}, techniques: {techniques}}}
"""


@pytest.mark.parametrize(
    ("task", "backbone", "techniques", "match"),
    [
        ("text_multilabel_classification", "bert", "[focal_loss]", "focal_loss wants answer = label"),
        ("text_classification", "tfidf_lr", "[class_weights]", "class_weights wants learning = descent"),
        ("text_classification", "bert", "[class_weights, logit_adjustment]", "gives balance = "),
        ("text_classification", "bert", "[{focal_loss: {gamma: 0}}]", "must be a number > 0"),
        ("text_classification", "bert", "[{class_weights: {weights: {a: -1}}}]", "must be a number >= 0"),
        ("text_classification", "bert", "[{logit_adjustment: {target: {a: 0}}}]", "must be a number > 0"),
    ],
)
def test_check_refuses_what_does_not_go_together(tmp_path, task, backbone, techniques, match):
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE.format(task=task, backbone=backbone, techniques=techniques))
    with pytest.raises(RecipeError, match=match):
        recipe.load(path)
    path.write_text(
        RECIPE.format(task="text_classification", backbone="bert", techniques="[class_weights, focal_loss]")
    )
    assert recipe.load(path).name == "x"
