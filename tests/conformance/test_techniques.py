"""Our own techniques, and two that stand for those of strangers."""

import pytest
import torch

from conformance.suite import all_are_found, every, subject
from danlu.contracts import Technique
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing import checks
from danlu.testing.bag import Bag
from danlu.testing.partners import go_together
from danlu.testing.subject import Subject
from technique_toys import Frames, Tones


class Average(Technique):
    """Ends with an average of the weights, which must survive a kill."""

    def start(self, run):
        run.kept(self)["average"] = {name: weight.detach().clone() for name, weight in run.trained().items()}

    def after_step(self, run):
        for name, average in run.kept(self)["average"].items():
            average.lerp_(run.trained()[name].detach(), 0.2)

    def finish(self, run):
        with torch.no_grad():
            for name, average in run.kept(self)["average"].items():
                run.trained()[name].copy_(average)


class Smoothed(Technique):
    """A penalty, and noise from the generator that the loop seeds."""

    def loss(self, loss, run):
        return loss + 0.1 * torch.randn(()) * run.outputs["logits"].square().sum(-1) * run.batch.count


def partners(technique):
    """Of the small plug-ins those that a technique can go with: a text and words, a picture, or a sound."""
    if technique.name == "spec_augment":
        return {"tasks": Tones(), "backbones": Frames()}
    for task, backbone in ((TextClassification(), Bag(dropout=0.1)), (ImageClassification(), Cnn(size="tiny"))):
        if go_together(task, technique):
            return {"tasks": task, "backbones": backbone}
    raise AssertionError(f"no small task fits {technique.name}")


def test_all_are_found():
    assert all_are_found("techniques", least=18)


@every("techniques")
def test_ours_conform(name, check, tmp_path):
    chosen = subject("techniques", name, tmp_path).plugin
    check(Subject(chosen, tmp_path, partners(chosen)))


@pytest.mark.parametrize("check", checks.checks_for("techniques"), ids=lambda check: check.__name__)
@pytest.mark.parametrize("technique", [Average, Smoothed])
def test_conforms(technique, check, tmp_path):
    check(Subject(technique(), tmp_path))
