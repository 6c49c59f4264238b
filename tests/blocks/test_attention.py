import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as reference

from danlu.blocks.attention import LONGEST, attend, attend_once


def _inputs(queries=7, keys=7, heads=4, shared=4, dtype=torch.float32):
    torch.manual_seed(0)
    shapes = [(3, heads, queries, 8), (3, shared, keys, 8), (3, shared, keys, 8)]
    return [torch.randn(s).to(dtype).requires_grad_() for s in shapes]


def _mask(queries=7, keys=7):
    hidden = torch.zeros(3, 1, queries, keys)
    hidden[1, :, :, -3:] = hidden[2, :, :, -1:] = torch.finfo(torch.float32).min
    return hidden


def _module(training=True):
    return nn.Identity().train(training)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("queries", "shared"), [(7, 4), (1, 4), (7, 2)])
def test_is_scaled_dot_product_attention_with_its_gradients(dtype, masked, queries, shared):
    ours, theirs = _inputs(queries, shared=shared, dtype=dtype), _inputs(queries, shared=shared)
    mask = _mask(queries) if masked else None
    got, weights = attend(_module(), *ours, mask)
    wanted = reference(*theirs, attn_mask=mask, enable_gqa=True).transpose(1, 2)
    assert weights is None
    assert (got.shape, got.dtype) == ((3, queries, 4, 8), dtype)
    close = {"rtol": 0.05, "atol": 0.05} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(got.float(), wanted, **close)
    slope = torch.randn_like(wanted)
    got.backward(slope.to(dtype))
    wanted.backward(slope)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad.float(), b.grad, **close)


def test_both_ways_of_computing_agree(monkeypatch):
    inputs, mask = _inputs(dtype=torch.float64), _mask().double()
    written_out = attend(_module(), *inputs, mask, scaling=0.3)[0]
    monkeypatch.setattr("danlu.blocks.attention.LONGEST", 6)
    fused = attend(_module(), *inputs, mask, scaling=0.3)[0]
    torch.testing.assert_close(written_out, fused, rtol=1e-5, atol=1e-5)


def test_queries_that_autocast_will_narrow_are_written_out(monkeypatch):
    """Angles for positions leave them in float32; the fused kernel would take ten times as long to learn in bfloat16."""
    inputs, mask = _inputs(), _mask()
    monkeypatch.setattr("danlu.blocks.attention.functional.scaled_dot_product_attention", None)
    with torch.autocast("cpu", torch.bfloat16):
        got = attend(_module(), *inputs, mask)[0]
    monkeypatch.undo()
    torch.testing.assert_close(got.float(), attend(_module(), *inputs, mask)[0], rtol=0.05, atol=0.05)


def test_scaling_is_used_and_defaults_to_the_root_of_the_size():
    inputs = _inputs()
    assert torch.equal(attend(_module(), *inputs, None)[0], attend(_module(), *inputs, None, scaling=8**-0.5)[0])
    assert not torch.allclose(attend(_module(), *inputs, None)[0], attend(_module(), *inputs, None, scaling=1.0)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_weights_in_training_only(dtype):
    query, key, _ = _inputs(dtype=dtype)
    seen = torch.eye(7).expand(3, 4, 7, 7).to(dtype)  # so that the result is the weights
    with torch.no_grad():
        plain = attend(_module(False), query, key, seen, None, dropout=0.5)[0]
        dropped = attend(_module(), query, key, seen, None, dropout=0.5)[0]
        certain = attend(_module(), query, key, seen, None, dropout=0.0)[0]
    assert torch.equal(plain, certain)
    kept = dropped != 0
    assert 0.35 < kept.float().mean() < 0.65
    torch.testing.assert_close(dropped[kept], (plain * 2)[kept], rtol=0.02, atol=0.02)


def test_the_longest_written_out_is_what_was_measured():
    assert LONGEST == 512


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_one_query_needs_no_keys_and_values(bias, masked, monkeypatch):
    torch.manual_seed(0)
    query, inputs = torch.randn(3, 4, 8, requires_grad=True), torch.randn(3, 7, 20, requires_grad=True)
    key, value = nn.Linear(20, 32, bias=bias), nn.Linear(20, 32, bias=bias)
    mask = _mask(1) if masked else None
    learnt = [query, inputs, *key.parameters(), *value.parameters()]

    def both_ways():
        yield attend_once(query, inputs, key, value, mask[:, :, 0] if masked else None, 0.3, 0.5)
        keys, values = (layer(inputs).view(3, 7, 4, 8).transpose(1, 2) for layer in (key, value))
        yield attend(_module(), query[:, :, None], keys, values, mask, scaling=0.3, dropout=0.5)[0][:, 0]

    monkeypatch.setattr("danlu.blocks.attention.drop", lambda weights, rate: weights * rate)  # they no longer sum to 1
    once, each = both_ways()
    torch.testing.assert_close(once, each, rtol=1e-5, atol=1e-5)
    slope = torch.randn_like(each)
    found = [torch.autograd.grad(mixed, learnt, slope) for mixed in (once, each)]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
