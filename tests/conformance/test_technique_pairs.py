"""Every technique under every method and precision, and every pair of them: it does something, or is refused."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch

from conformance.suite import found, options
from danlu.blocks.tensors import state
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.bag import Bag
from danlu.testing.partners import Trial, go_together

STEPS = 4
METHODS = ("full", "last_layers", "lora")
SUBJECTS = {"text": (TextClassification(), Bag(dropout=0.1)), "image": (ImageClassification(), Cnn(size="tiny"))}


def technique(name, folder):
    return plugin.load("techniques", name)(**options("techniques", name, folder))


def after(kind, techniques, method="full", precision="fp32"):
    """All weights after a few steps, as one vector; LoRA's own with them."""
    chosen = plugin.load("methods", method)(**({"layers": 1} if method == "last_layers" else {}))
    trial = Trial.of(*SUBJECTS[kind], chosen).fit(techniques, steps=STEPS, precision=precision)
    return torch.cat([tensor.detach().flatten().float() for _, tensor in sorted(state(trial.module).items())])


@functools.cache
def plain(kind, method, precision):
    return after(kind, (), method, precision)


def that_fit(kind, folder):
    """The techniques that a task and a backbone can go with; SpecAugment wants arrays that neither has."""
    chosen = {name: technique(name, folder) for name in found("techniques") if name != "spec_augment"}
    return {n: t for n, t in chosen.items() if all(go_together(t, part) for part in SUBJECTS[kind])}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_each_does_something_under_every_method_and_precision(method, precision, tmp_path):
    chosen = that_fit("text", tmp_path)
    assert len(chosen) >= 16
    for name, one in chosen.items():
        if (name, method) == ("gradual_unfreezing", "last_layers"):
            continue  # where one layer is trained, none can join later
        ended = after("text", (one,), method, precision)
        assert ended.isfinite().all(), name
        assert not torch.equal(ended, plain("text", method, precision)), name


def pairs(kind, folder):
    """Names of pairs that are accepted; raises AssertionError for one that equals one of the two alone."""
    chosen = that_fit(kind, folder)
    alone = {name: after(kind, (one,)) for name, one in chosen.items()}
    accepted, declared = set(), set()
    for one, two in itertools.combinations(chosen, 2):
        if not go_together(chosen[one], chosen[two]):
            declared.add((one, two))
            continue
        try:
            both = after(kind, (chosen[one], chosen[two]))
        except RecipeError as refused:
            raise AssertionError(f"{one} and {two} go together by their facts, and training refuses them") from refused
        assert both.isfinite().all(), f"{one} and {two}"
        for name in (one, two):
            assert not torch.equal(both, alone[name]), f"{one} and {two} end as {name} alone"
        accepted.add((one, two))
    return accepted, declared


def test_every_pair_for_texts_differs_from_each_alone_or_is_refused(tmp_path):
    accepted, declared = pairs("text", tmp_path)
    assert declared == {
        ("class_weights", "logit_adjustment"),
        ("ema", "swa"),
        ("fgm", "freelb"),
        ("fgm", "pgd"),
        ("focal_loss", "robust_loss"),
        ("freelb", "pgd"),
        ("label_smoothing", "robust_loss"),
    }
    assert len(accepted) >= 113


def test_pairs_for_pictures(tmp_path):
    """Cutmix, which no text has, beside those that change batches, losses, weights or models beside."""
    chosen = that_fit("image", tmp_path)
    alone = {name: after("image", (chosen[name],)) for name in ("cutmix", "mixup", "r_drop", "ema", "distill")}
    for name in ("mixup", "r_drop", "ema", "distill"):
        both = after("image", (chosen["cutmix"], chosen[name]))
        assert not torch.equal(both, alone["cutmix"]), name
        assert not torch.equal(both, alone[name]), name
