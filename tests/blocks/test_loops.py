"""The loops in C beside torch's operations in float32, on sizes with and without a tail."""

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from danlu.blocks import loops
from danlu.blocks.loops import Mask, Texts
from danlu.core import machine
from danlu.core.machine import LOOPS_SWITCH

NONE = Mask.of(0.0, (1, 2))
here = pytest.mark.skipif(not loops.available(), reason="the loops were not compiled, or can't run here")


@pytest.fixture(autouse=True)
def drawn():
    torch.manual_seed(0)


def narrow(*shape):
    return torch.randn(*shape).bfloat16()


def near(found, wanted, size=1.0):
    assert_close(found.float(), wanted.float(), rtol=0.01, atol=0.01 * size)


@pytest.mark.skipif("AVX512" not in torch.backends.cpu.get_cpu_capability(), reason="the loops want AVX-512")
@pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="there is no C compiler")
def test_with_a_compiler_and_the_processor_they_are_there():
    assert loops.available()


def test_they_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(LOOPS_SWITCH, "torch")
    assert not loops.available()


def test_without_their_file_they_are_not_available(monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert loops._library.__wrapped__() is None


def test_a_file_that_is_no_library_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "_loops.so").write_bytes(b"not one")
    monkeypatch.setattr(machine, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "_loops.so")))
    assert machine.loops() is None


@here
def test_a_library_of_other_sources_is_passed_over(monkeypatch):
    assert machine.loops() is not None
    monkeypatch.setattr(machine, "LOOPS_FORM", 0)
    assert machine.loops() is None


@here
@pytest.mark.parametrize("size", [1, 16, 37])
def test_gelu(size):
    x, bias, slope = narrow(5, size) * 3, narrow(size), narrow(5, size)
    whole = x.float() + bias
    near(loops.gelu(x, bias), functional.gelu(whole))
    wanted = torch.ops.aten.gelu_backward(slope.float(), whole)
    sums = loops.gelu_back(x, bias, slope)
    near(slope, wanted)
    assert_close(sums, wanted.sum(0), rtol=1e-4, atol=1e-4)


@here
def test_gelu_of_numbers_that_are_none_or_without_end():
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -40.0, 40.0]).bfloat16()
    told = loops.gelu(x[None], torch.zeros(6).bfloat16()).float()[0]
    assert told[0].isnan()
    assert not told[1:3].isfinite().any()
    assert told[3:].tolist() == [0.0, 0.0, 40.0]


@here
@pytest.mark.parametrize("size", [3, 48, 70])
def test_norm(size):
    x, before, slope, added = narrow(9, size), narrow(9, size), narrow(9, size), narrow(size)
    weight, bias = torch.rand(size) + 0.5, torch.randn(size)
    leaves = [t.detach().float().requires_grad_() for t in (before, x, weight, bias, added)]
    wanted = functional.layer_norm(leaves[0] + leaves[1] + leaves[4], (size,), leaves[2], leaves[3], 1e-6)
    wanted.backward(slope.float())
    made = loops.norm(x, added, before, weight, bias, 1e-6, NONE)
    near(made.told, wanted, 2.0)
    found = loops.norm_back(slope, None, made.even, made.inverse, weight, NONE)
    for one, leaf in zip(found, leaves, strict=True):
        near(one, leaf.grad, 3.0)
    twice = loops.norm_back(slope, slope, made.even, made.inverse, weight, NONE)
    for one, leaf in zip(twice, leaves, strict=True):
        near(one, 2 * leaf.grad, 6.0)


@here
def test_norm_drops_what_it_says_and_the_slope_knows_it():
    x, before = torch.ones(64, 48).bfloat16(), torch.zeros(64, 48).bfloat16()
    mask, weight, bias = Mask.of(0.25, (5, 6)), torch.ones(48), torch.zeros(48)
    made = loops.norm(x, torch.zeros(48).bfloat16(), before, weight, bias, 1e-6, mask)
    kept = made.told > 0  # of a row of scales and zeros the scales are above its mean
    assert 0.72 < kept.float().mean() < 0.78
    _, of_x, *_ = loops.norm_back(narrow(64, 48), None, made.even, made.inverse, weight, mask)
    assert torch.equal(of_x != 0, kept)
    other = loops.norm(x, torch.zeros(48).bfloat16(), before, weight, bias, 1e-6, Mask.of(0.25, (5, 7)))
    assert not torch.equal(other.told > 0, kept)
    again = loops.norm(x, torch.zeros(48).bfloat16(), before, weight, bias, 1e-6, mask)
    assert torch.equal(again.told, made.told)


def attended(joined, starts, lengths, heads, mask, scaling):
    """Attention as the books have it, text by text; tokens of no text get 0."""
    size = joined.shape[1] // 3 // heads
    told = torch.zeros(len(joined), heads * size)
    for text, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        q, k, v = joined[start : start + length].view(length, 3, heads, size).permute(1, 2, 0, 3)
        scores = q @ k.transpose(1, 2) * scaling
        if mask is not None:
            scores = scores + mask[text]
        told[start : start + length] = (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, -1)
    return told


@here
@pytest.mark.parametrize("size", [16, 48])
@pytest.mark.parametrize("way", ["padded", "masked", "by query", "row"])
def test_attention(way, size):
    heads, scaling = 3, 0.2
    mask = None
    if way == "row":
        texts, tokens = Texts.in_row(torch.tensor([1, 5, 16, 33])), 60
    else:
        texts, tokens = Texts.padded(4, 21, None), 84
    if way in ("masked", "by query"):
        mask = torch.zeros(4, 1, 21 if way == "by query" else 1, 21)
        mask[1, ..., 9:] = torch.finfo(torch.float32).min
        if way == "by query":
            mask[2, :, torch.ones(21, 21).triu(1).bool()] = torch.finfo(torch.float32).min
        texts = texts._replace(mask=mask)
    joined, slope, bias = narrow(tokens, 9 * size), narrow(tokens, 3 * size), narrow(9 * size) / 4
    leaf = (joined.float() + bias).requires_grad_()
    wanted = attended(leaf, texts.starts, texts.lengths, heads, mask, scaling)
    wanted.backward(slope.float())
    told, shares = loops.attend(joined, bias, texts, heads, scaling, NONE)
    near(told, wanted)
    found, sums = loops.attend_back(slope, joined, bias, texts, heads, scaling, shares, 1.0)
    near(found, leaf.grad, 4.0)
    near(sums, leaf.grad.sum(0), 10.0)


@here
def test_attention_drops_shares_and_the_slope_knows_it():
    heads, size, width = 2, 16, 24
    texts, mask = Texts.padded(8, width, None), Mask.of(0.3, (7, 8))
    joined = torch.zeros(8 * width, 3 * heads * size).bfloat16()
    joined[:, 2 * heads * size :] = 1.0  # equal shares of ones: told is the part of them that was kept
    none = torch.zeros(3 * heads * size).bfloat16()
    told, shares = loops.attend(joined, none, texts, heads, 1.0, mask)
    signs = torch.signbit(shares.view(8, heads, width, 32)[..., :width])
    assert 0.28 < signs.float().mean() < 0.32
    kept = (~signs).float().sum(-1) / width * mask.scale
    near(told.view(8, width, heads, size)[..., 0].transpose(1, 2), kept)
    slope = torch.ones(8 * width, heads * size).bfloat16()
    found, _ = loops.attend_back(slope, joined, none, texts, heads, 1.0, shares, mask.scale)
    near(
        found[:, 2 * heads * size :].view(8, width, heads, size)[..., 0],
        (~signs).float().sum(2).transpose(1, 2) / width * mask.scale,
    )


@here
def test_bits_of_a_mask_look_drawn():
    x, before = torch.ones(256, 256).bfloat16(), torch.zeros(256, 256).bfloat16()
    given = torch.ones(256), torch.zeros(256), 1e-6
    one, two = (
        (loops.norm(x, torch.zeros(256).bfloat16(), before, *given, Mask.of(0.5, keys)).told > 0).double().numpy()
        for keys in ((3, 9), (4, 9))
    )
    for a, b in ((one, two), (one[1:], one[:-1]), (one[:, 1:], one[:, :-1]), (one[:, 16:], one[:, :-16])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    for axis in (0, 1):
        assert 6 < one.sum(axis).std() < 10  # of 256 fair coins it is 8


@here
def test_tensors_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"contiguous tensor of torch\.bfloat16"):
        loops.gelu(torch.ones(1, 3), torch.ones(3))
    with pytest.raises(ValueError, match="contiguous"):
        loops.gelu(narrow(4, 6).t(), narrow(4))
    texts = Texts.padded(1, 4, torch.zeros(1, 2, 1, 4))
    with pytest.raises(ValueError, match="a mask"):
        loops.attend(narrow(4, 96), narrow(96), texts, 2, 1.0, NONE)
