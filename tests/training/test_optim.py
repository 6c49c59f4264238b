"""Clipping that costs no pass of its own, penalties, and the state of an optimizer."""

import pytest
import torch
from torch import nn
from training_toys import Tagger

from danlu.core import plugin
from danlu.training import optim
from danlu.training.groups import groups


def weights(seed=0):
    return dict(Tagger(seed).named_parameters())


def model_and(name="adamw", weight_decay=0.01, **options):
    model = Tagger()
    named = dict(model.named_parameters())
    optimizer = plugin.load("optimizers", name)(**options).build(
        groups(model, named, lr=0.1, weight_decay=weight_decay)
    )
    return named, optimizer


def give_gradients(named, scale=1.0):
    torch.manual_seed(5)
    for weight in named.values():
        weight.grad = torch.randn_like(weight) * scale


@pytest.mark.parametrize("scale", [100.0, 1e-3])
def test_folded_clipping_equals_clipping_first(scale):
    (ours, mine), (theirs, plain) = model_and(), model_and()
    assert mine.param_groups[0]["lr"] == 0.1
    for _ in range(3):
        give_gradients(ours, scale)
        give_gradients(theirs, scale)
        norm = optim.clip(mine, ours.values(), 1.0)
        assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(theirs.values(), 1.0)), rel=1e-6)
        mine.step()
        plain.step()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_clipping_nothing_is_fine(name):
    named, optimizer = model_and(name)
    assert optim.clip(optimizer, named.values(), 1.0) == 0


def test_the_rate_of_a_group_is_scaled():
    _, optimizer = model_and()
    optimizer.param_groups[0]["scale"] = 0.5
    optim.set_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups][:2] == [0.1, 0.2]


def test_l2_is_the_decay_of_plain_descent():
    (ours, mine), (theirs, plain) = model_and("sgd", 0.0), model_and("sgd", 0.3)
    for named, optimizer in ((ours, mine), (theirs, plain)):
        give_gradients(named)
        if optimizer is mine:
            optim.penalize(mine, l1=0.0, l2=0.3)
        optimizer.step()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name])


def test_l1_pulls_towards_zero_and_leaves_biases_and_norms():
    named, optimizer = model_and("sgd", momentum=0.0, weight_decay=0.0)
    before = {name: w.detach().clone() for name, w in named.items()}
    for weight in named.values():
        weight.grad = torch.zeros_like(weight)
    optim.penalize(optimizer, l1=0.5, l2=0.0)
    optimizer.step()
    for name, weight in named.items():
        pull = 0.1 * 0.5 * before[name].sign() if name in ("embed.weight", "hidden.weight", "head.weight") else 0.0
        torch.testing.assert_close(weight.detach(), before[name] - pull)


def test_state_goes_there_and_back():
    (named, optimizer), (other, second) = model_and(), model_and()
    give_gradients(named)
    optimizer.step()
    kept = {key: tensor.clone() for key, tensor in optim.state(optimizer, named).items()}
    assert set(kept) >= {"head.weight/exp_avg", "head.weight/exp_avg_sq", "head.weight/step"}
    with torch.no_grad():
        for name, weight in other.items():
            weight.copy_(named[name])
    optim.restore(second, other, kept)
    for one, tensors in ((optimizer, named), (second, other)):
        give_gradients(tensors)
        one.step()
    assert all(torch.equal(named[name], other[name]) for name in named)


@pytest.mark.parametrize("value", [3, 0.1, True, 2**60])
def test_numbers_of_a_state_come_back_as_they_were(value):
    (named, optimizer), (other, second) = model_and(), model_and()
    optimizer.state[named["head.bias"]]["seen"] = value
    optim.restore(second, other, optim.state(optimizer, named))
    back = second.state[other["head.bias"]]["seen"]
    assert (back, type(back)) == (value, type(value))


def test_a_state_that_is_no_data_is_told():
    named, optimizer = model_and()
    optimizer.state[named["head.bias"]]["seen"] = "text"
    with pytest.raises(TypeError, match=r"AdamW keeps a str as 'seen' of head\.bias"):
        optim.state(optimizer, named)
