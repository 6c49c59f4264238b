"""fp16: losses are scaled, steps whose gradients are not finite are skipped and counted, and a resume goes on alike."""

import itertools

import pytest
import torch
from training_toys import DP, Look, LookAfter, Tagger, Tagging, examples, job, listen, weights_sha256

from danlu.blocks import table_gradients
from danlu.contracts import Technique
from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.training.guards import DivergedError
from danlu.training.loop import fit
from danlu.training.scaling import Scaling


class Broken(Technique):
    """Makes the gradients of some steps infinite."""

    def __init__(self, *steps):
        super().__init__()
        object.__setattr__(self, "steps", steps)

    def after_backward(self, run):
        if run.step in self.steps:
            run.model.head.bias.grad[0] = float("inf")


class Stop(Exception):
    pass


def stop(run):
    if run.step == 6:
        raise Stop


def test_fp16_learns_and_ends_near_fp32():
    losses = {}
    for precision in ("fp16", "fp32"):
        fitted = fit(job(module=Tagger(dropout=0.0), precision=precision, steps=40, n=60))
        losses[precision] = [loss for _, loss in fitted.numbers["loss"]]
        assert fitted.numbers["precision"] == precision
    assert losses["fp16"][-1] < 0.8 * losses["fp16"][0]
    assert losses["fp16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["fp16"] != losses["fp32"]


def test_gradients_have_their_true_size_before_a_step():
    sizes = {}
    for precision in ("fp16", "fp32"):
        seen = sizes.setdefault(precision, [])
        look = Look(lambda run, seen=seen: seen.append(run.model.head.weight.grad.norm().item()))
        fit(job(module=Tagger(dropout=0.0), precision=precision, steps=2, techniques=(look,), clip=None))
    assert sizes["fp16"] == pytest.approx(sizes["fp32"], rel=0.02)


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_step_that_is_not_finite_is_skipped_counted_and_told(clip):
    moved, said = [], listen(Events)
    look = LookAfter(lambda run: moved.append(run.model.head.weight.detach().clone()))
    one = job(precision="fp16", steps=6, techniques=(Broken(2, 3), look), clip=clip, events=said[0])
    fitted = fit(one)
    assert [torch.equal(a, b) for a, b in itertools.pairwise(moved)] == [False, True, True, False, False]
    assert fitted.numbers["skipped_steps"] == 2
    assert len(fitted.numbers["loss"]) == 4
    assert any("2 of 6 steps were skipped" in str(event) for event in said[1])


def test_gradients_that_are_never_finite_end_the_training():
    with pytest.raises(DivergedError, match="the gradients of 25 steps in a row are not finite in fp16"):
        fit(job(precision="fp16", steps=40, techniques=(Broken(*range(40)),)))


def test_a_resume_has_the_factor_of_before(tmp_path):
    options = {"precision": "fp16", "steps": 10, "checkpoint_steps": 1}

    def trained(*more, work=None):
        one = job(techniques=(Broken(2, 5), *more), work=work, **options)
        fitted = fit(one)
        return weights_sha256(one.module), fitted.numbers["skipped_steps"], fitted.resumed_at

    with pytest.raises(Stop):
        trained(LookAfter(stop), work=tmp_path)
    whole = trained(LookAfter(lambda run: None))
    assert trained(LookAfter(lambda run: None), work=tmp_path) == (*whole[:2], 6)
    assert whole[1] == 2


def test_a_kept_gradient_of_a_table_is_scaled_down_too(monkeypatch):
    found = []
    for smallest in (1, 2**20):
        monkeypatch.setattr(table_gradients, "SMALLEST", smallest)
        one = job(precision="fp16", steps=6)
        fit(one)
        found.append(weights_sha256(one.module))
    assert found[0] == found[1]


def test_what_can_not_be_scaled_is_refused():
    with pytest.raises(RecipeError, match="DP replaces the backward pass, whose loss fp16 has to scale"):
        fit(job(precision="fp16", techniques=(DP(),), train=examples(Tagging(), 12)))
    with pytest.raises(RecipeError, match="torch does not do that on mps"):
        Scaling(torch.device("mps"))
