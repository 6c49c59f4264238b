"""A method whose own weights stay where they were is refused, though the head learns."""

from __future__ import annotations

import pytest
import torch
from training_toys import LookAfter, Tagger, Tagging, examples, job

from danlu.contracts import Method, Technique
from danlu.core.errors import RecipeError
from danlu.plugins.methods.adapter import Adapter
from danlu.plugins.methods.bitfit import BitFit
from danlu.plugins.methods.dora import DoRA
from danlu.plugins.methods.full import Full
from danlu.plugins.methods.last_layers import LastLayers
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.techniques.gradual_unfreezing import GradualUnfreezing
from danlu.training.job import Job, Judge
from danlu.training.loop import fit

HEAD = ["head.weight", "head.bias"]


class Deaf(Tagger):
    """The head learns, and no gradient comes to what lies below it."""

    def forward(self, ids):
        below = torch.tanh(self.hidden(self.drop(self.norm(self.embed(ids)))))
        return {"logits": self.head(below.detach())}


class Zeros(Tagger):
    """As `Deaf`, with gradients of zero, under which weights still decay."""

    def forward(self, ids):
        below = torch.tanh(self.hidden(self.drop(self.norm(self.embed(ids)))))
        return {"logits": self.head(below.detach() + 0 * below)}


def wrapped(method: Method, module: torch.nn.Module, **options) -> Job:
    method = method.resolve(HEAD)
    return job(module=method.wrap(module), method=method, fresh=HEAD, **options)


METHODS = [LoRA(rank=2), DoRA(rank=2), Adapter(size=2), BitFit(), LastLayers(layers=2), Full()]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_that_gets_no_gradient_is_refused_though_the_head_moves(method):
    with pytest.raises(RecipeError, match=rf"{method.name} trained nothing: \d+ tensors of its own did not move"):
        fit(wrapped(method, Deaf()))


def test_what_did_not_move_is_named():
    with pytest.raises(RecipeError, match=r"1 tensors of its own did not move \(hidden\.lora_B\.default\.weight\)"):
        fit(wrapped(LoRA(rank=2), Deaf()))


def test_weights_that_only_decayed_have_learnt_nothing():
    with pytest.raises(RecipeError, match="lora trained nothing"):
        fit(wrapped(LoRA(rank=2), Zeros(), weight_decay=0.1))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_one_step_is_enough(method):
    """After a single one only LoRA's B has moved: the gradient of A is zero as long as B is."""
    assert fit(wrapped(method, Tagger(), steps=1)).steps == 1


def test_a_head_that_is_meant_to_learn_alone_may():
    assert fit(wrapped(LastLayers(layers=0), Deaf())).steps == 12


def test_rows_of_a_table_that_no_text_has_stay():
    one = wrapped(Full(), Tagger(), steps=1, weight_decay=0, train=examples(Tagging(), 1))
    start = one.module.embed.weight.detach().clone()
    fit(one)
    assert (one.module.embed.weight == start).all(-1).any()


@pytest.mark.parametrize("method", [Full(), LoRA(rank=2)], ids=lambda method: method.name)
def test_what_joins_late_may_be_too_late(method):
    """In one step nothing has joined but the head."""
    assert fit(wrapped(method, Tagger(), steps=1, techniques=(GradualUnfreezing(over=1.0),))).steps == 1


def test_the_best_weights_may_be_older_than_what_joined_late():
    said, seen = iter([0.9, *[0.5] * 7]), []
    best = Judge("score", "higher", lambda module, device: next(said))
    see = LookAfter(lambda run: seen.append(run.model.hidden.weight.detach().clone()))
    options = {"steps": 8, "evaluate_every": 1, "judge": best, "validation": examples(Tagging(), 3)}
    one = wrapped(Full(), Tagger(), techniques=(GradualUnfreezing(), see), **options)
    start = {name: weight.detach().clone() for name, weight in one.module.named_parameters()}
    fit(one)
    assert {name for name, weight in one.module.named_parameters() if not torch.equal(weight, start[name])} == {*HEAD}
    assert not torch.equal(seen[-1], start["hidden.weight"])


def test_a_technique_that_takes_the_gradients_away_is_seen():
    class Numb(Technique):
        def before_step(self, run):
            for name, weight in run.trained().items():
                weight.grad = weight.grad if name in HEAD else None

    with pytest.raises(RecipeError, match="adapter trained nothing"):
        fit(wrapped(Adapter(size=2), Tagger(), techniques=(Numb(),)))
