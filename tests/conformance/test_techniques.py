"""There is no technique of our own yet; these two stand for those of strangers."""

import pytest
import torch

from danlu.contracts import Technique
from danlu.testing import checks
from danlu.testing.subject import Subject


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


@pytest.mark.parametrize("check", checks.checks_for("techniques"), ids=lambda check: check.__name__)
@pytest.mark.parametrize("technique", [Average, Smoothed])
def test_conforms(technique, check, tmp_path):
    check(Subject(technique(), tmp_path))
