"""Layers of an encoder as one function: the losses and gradients of the layers as they are, and of no other layers."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from danlu.blocks import fused_layer, hf, loops
from danlu.blocks.halves import Halves
from danlu.blocks.row_adamw import RowAdamW
from danlu.core.machine import LOOPS_SWITCH
from danlu.values import Batch, Head

pytestmark = pytest.mark.skipif(not loops.available(), reason="the loops were not compiled, or can't run here")

SIZES = {"vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 80}
LENGTHS = (3, 20, 4, 9, 20, 5, 6, 7, 12, 33)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def encoder(kind="bert", per="input", dropout=0.0, **more):
    torch.manual_seed(0)
    sizes = {**SIZES, "max_position_embeddings": 60, "pad_token_id": 0, **more}
    return hf.from_scratch(kind, Head(per, 3, ("a", "b", "c")), 0, dropout=dropout, **sizes).train()


def batch(lengths=LENGTHS):
    torch.manual_seed(1)
    ids, mask = torch.randint(2, 50, (len(lengths), max(lengths))), torch.zeros(len(lengths), max(lengths)).long()
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    return Batch({"input_ids": ids * mask, "attention_mask": mask}, {}, torch.ones(len(lengths)))


def losses(given, model):
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(**given.inputs)["logits"].float()
    if logits.dim() == 3:
        logits = (logits * given.inputs["attention_mask"].unsqueeze(-1)).sum(1)
    return logits.square().sum(-1)


def learnt(model, given, seed=3):
    """The loss and the gradients of a batch in halves, and how many layers were fused."""
    torch.manual_seed(seed)
    model.zero_grad()
    both = Halves(model)
    try:
        said = both.learn(given, losses, 1.0)
        return said, {n: w.grad for n, w in model.named_parameters() if w.grad is not None}, len(both._joined)
    finally:
        both.close()


@pytest.mark.parametrize("lengths", [LENGTHS, (9,) * 8])
@pytest.mark.parametrize("per", ["input", "position"])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_losses_and_gradients_are_those_of_the_layers_as_they_are(kind, per, lengths, monkeypatch):
    model, given = encoder(kind, per), batch(lengths)
    calls = []
    monkeypatch.setattr(loops, "attend", lambda *a, real=loops.attend: calls.append(1) or real(*a))
    said, found, fused = learnt(model, given)
    assert fused == (2 if kind == "bert" and per == "input" else 3)  # the last layer may be of the first token only
    assert len(calls) == 2 * fused
    monkeypatch.setenv(LOOPS_SWITCH, "torch")
    wanted_loss, wanted, none = learnt(model, given)
    assert none == 0
    assert len(calls) == 2 * fused
    assert_close(said, wanted_loss, rtol=0.02, atol=0.02)
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        if not name.endswith("key.bias"):  # softmax does not see it, so all of its gradient is rounding
            apart = (gradient - wanted[name]).norm() / wanted[name].norm().clamp(min=1e-3)
            assert apart < 0.05, name


def test_dropout_is_a_function_of_the_seed():
    model, given = encoder(dropout=0.3), batch()
    one, again, other = (learnt(model, given, seed) for seed in (3, 3, 4))
    assert torch.equal(one[0], again[0])
    assert all(torch.equal(gradient, again[1][name]) for name, gradient in one[1].items())
    assert not torch.equal(one[0], other[0])
    without, _, _ = learnt(encoder(), given)
    assert not torch.equal(one[0], without)


def test_dropout_in_the_mean_is_that_of_the_layers_as_they_are(monkeypatch):
    model, given = encoder(dropout=0.1), batch()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "classifier" in name:
                weight.mul_(20)
    mine = torch.stack([learnt(model, given, seed)[0] for seed in range(60)])
    monkeypatch.setenv(LOOPS_SWITCH, "torch")
    plain = torch.stack([learnt(model, given, seed)[0] for seed in range(60)])
    error = (mine.var() / 60 + plain.var() / 60).sqrt()
    assert abs(mine.mean() - plain.mean()) < 4 * error
    assert 0.4 < mine.std() / plain.std() < 2.5


def test_frozen_weights_get_no_gradient_and_the_others_the_same():
    model, given = encoder(), batch()
    _, whole, _ = learnt(model, given)
    for name, weight in model.named_parameters():
        weight.requires_grad_("layer.1" in name and ("query.weight" in name or "bias" in name))
    _, found, _ = learnt(model, given)
    assert set(found) == {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert_close(found, {name: whole[name] for name in found})


def test_matrices_that_moved_are_seen():
    model, given = encoder(), batch()
    both = Halves(model)
    before = both.learn(given, losses, 1.0)
    with torch.no_grad():
        model.bert.encoder.layer[0].attention.self.value.weight.mul_(3)
    assert not torch.equal(both.learn(given, losses, 1.0), before)
    both.close()


@pytest.mark.parametrize("kind", [RowAdamW, partial(torch.optim.AdamW, fused=True), torch.optim.SGD])
def test_steps_of_any_optimizer_are_seen(kind):
    model, given = encoder(), batch()
    both, optimizer = Halves(model), kind(model.parameters(), lr=0.01)
    with optimizer.beside(both) if kind is RowAdamW else nullcontext():
        for _ in range(3):
            said = both.learn(given, losses, 1.0)
            fresh = Halves(model)
            assert torch.equal(fresh.learn(given, losses, 1.0), said)
            fresh.close()
            optimizer.step()
            optimizer.zero_grad()
    both.close()


class _Wrapped(nn.Linear):
    pass


def test_layers_that_are_not_as_they_were_are_left_alone():
    def fused(model):
        return len(list(fused_layer.fitting(model)))

    assert fused(encoder()) == 2
    assert fused(encoder(num_attention_heads=8)) == 0  # heads of 8 numbers
    assert fused(encoder(hidden_act="relu")) == 0
    model = encoder()
    model.bert.encoder.layer[0].output.dense.__class__ = _Wrapped
    assert fused(model) == 1
    model = encoder()
    model.bert.encoder.layer[1].attention.self.query.bias = None
    assert fused(model) == 1
    assert fused(hf.body(encoder())) == 2


def test_outside_training_the_layer_is_as_it_was(monkeypatch):
    model, given = encoder(), batch()
    both = Halves(model)
    monkeypatch.setattr(loops, "attend", lambda *a: pytest.fail("fused"))
    twin = both._twins[0].eval()
    with torch.no_grad():
        losses(given, twin)
    both.close()
