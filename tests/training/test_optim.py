"""AdamW, clipping that costs no pass of its own, and the schedule."""

import pytest
import torch
from torch import nn
from training_toys import Tagger

from danlu.training import optim
from danlu.training.schedule import factor


def weights(seed=0):
    return dict(Tagger(seed).named_parameters())


def give_gradients(named, scale=1.0):
    torch.manual_seed(5)
    for weight in named.values():
        weight.grad = torch.randn_like(weight) * scale


def test_biases_and_norms_do_not_decay():
    named = weights()
    optimizer = optim.adamw(named, lr=0.1, weight_decay=0.5)
    decay = {id(w): group["weight_decay"] for group in optimizer.param_groups for w in group["params"]}
    assert {name for name, w in named.items() if decay[id(w)]} == {"embed.weight", "hidden.weight", "head.weight"}
    assert all(group["fused"] for group in optimizer.param_groups)


@pytest.mark.parametrize("scale", [100.0, 1e-3])
def test_folded_clipping_equals_clipping_first(scale):
    ours, theirs = weights(), weights()
    for _ in range(3):
        give_gradients(ours, scale)
        give_gradients(theirs, scale)
        mine = optim.adamw(ours, lr=0.1, weight_decay=0.01) if _ == 0 else mine  # noqa: F821
        plain = optim.adamw(theirs, lr=0.1, weight_decay=0.01) if _ == 0 else plain  # noqa: F821
        norm = optim.clip(mine, ours.values(), 1.0)
        assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(theirs.values(), 1.0)), rel=1e-6)
        mine.step()
        plain.step()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-6, rtol=1e-5)


def test_clipping_nothing_is_fine():
    named = weights()
    assert optim.clip(optim.adamw(named, 0.1, 0.0), named.values(), 1.0) == 0


def test_state_goes_there_and_back():
    named, other = weights(), weights()
    optimizer, second = optim.adamw(named, 0.1, 0.01), optim.adamw(other, 0.1, 0.01)
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


def test_linear_rises_and_falls_on_a_line():
    rates = [factor(step, 20, 0.2, "linear") for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([k / 16 for k in range(16, 0, -1)])


def test_cosine_and_constant():
    cosine = [factor(step, 20, 0.0, "cosine") for step in range(20)]
    assert (cosine[0], cosine[10]) == pytest.approx((1.0, 0.5))
    assert 0 < cosine[19] < 0.01
    assert cosine == sorted(cosine, reverse=True)
    assert [factor(step, 10, 0.1, "constant") for step in range(10)] == [1.0] * 10


def test_every_step_has_a_rate_above_zero():
    for schedule in ("linear", "cosine", "constant"):
        for steps in (1, 2, 7):
            for warmup in (0.0, 0.06, 1.0):
                assert all(0 < factor(step, steps, warmup, schedule) <= 1 for step in range(steps))
