"""Every technique under every method of ours, on a tiny transformer: it ends elsewhere, or is refused as it says."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch

from conformance.suite import found, options
from danlu.blocks.tensors import state
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.partners import Trial, go_together
from tiny_models import write_tiny_bert, write_tiny_language_model

TASK = TextClassification()
PRECISIONS = ("fp32", "bf16", "fp16")
METHODS = [name for name in found("methods") if name != "zero_shot"]
TECHNIQUES = [name for name in found("techniques") if name not in ("cutmix", "spec_augment")]  # pictures, spectrograms
EVERY = list(itertools.product(METHODS, TECHNIQUES, PRECISIONS))
SOME = [
    (method, technique, PRECISIONS[(k + place) // 3 % 3])
    for k, method in enumerate(METHODS)
    for place, technique in enumerate(TECHNIQUES)
    if (k + place) % 3 == 0 or technique == "gradual_unfreezing"
]
"""A third of the pairs; the others are for `make proof`. Each method, technique and precision is among them."""


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """All weights after four steps, as one vector; `technique` may be empty."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_bert(folder / "bert")
    write_tiny_language_model(folder / "filler", "bert")

    @functools.cache
    def after(method, technique, precision):
        backbone = Pretrained(model=str(folder / ("filler" if method == "verbalizer" else "bert")))
        chosen = plugin.load("methods", method)(**options("methods", method, folder))
        one = plugin.load("techniques", technique)(**options("techniques", technique, folder)) if technique else None
        trial = Trial.of(TASK, backbone, chosen).fit((one,) if one else (), steps=4, precision=precision, lr=1e-2)
        return torch.cat([tensor.detach().flatten().float() for _, tensor in sorted(state(trial.module).items())])

    return after


def check_pair(after, method, technique, precision):
    made = [plugin.load(*which) for which in (("methods", method), ("techniques", technique))]
    if not go_together(*made):
        with pytest.raises(RecipeError):
            after(method, technique, precision)
        return
    ended = after(method, technique, precision)
    assert ended.isfinite().all()
    assert not torch.equal(ended, after(method, "", precision)), "the technique changes nothing"


@pytest.mark.parametrize("method", METHODS)
def test_some_under_each_method(method, after):
    for _, technique, precision in [one for one in SOME if one[0] == method]:
        check_pair(after, method, technique, precision)


def test_each_is_among_those_that_are_tried():
    for place, names in enumerate((METHODS, TECHNIQUES, PRECISIONS)):
        assert {one[place] for one in SOME} == set(names)
    assert {*METHODS, "zero_shot"} == set(found("methods"))


@pytest.mark.proof
@pytest.mark.parametrize(("method", "technique", "precision"), EVERY)
def test_every_technique_under_every_method_and_precision(method, technique, precision, after):
    check_pair(after, method, technique, precision)


def test_a_method_says_at_which_moments_its_own_techniques_work():
    for name in found("methods"):
        made = plugin.load("methods", name)(**options("methods", name, None))
        assert {moment for one in made.techniques() for moment in one.moments} == set(made.moments), name
