"""The width of what is drawn, for every kind of weight."""

from __future__ import annotations

import math

import pytest
import torch

from danlu.contracts import Initialiser

WIDTHS = [
    ("xavier", math.sqrt(2 / (300 + 200))),
    ("he", math.sqrt(2 / 200)),
    ("normal", 0.02),
    ({"normal": {"std": 0.1}}, 0.1),
    ("truncated", 0.02 * 0.8796),
    ("orthogonal", 1 / math.sqrt(300)),
]


def drawn(what, *shape, scale=1.0):
    torch.manual_seed(0)
    weight = torch.zeros(*shape)
    Initialiser.choose(what).fill(weight, scale)
    return weight


@pytest.mark.parametrize(("what", "width"), WIDTHS)
def test_the_width_is_that_of_the_paper(what, width):
    weight = drawn(what, 300, 200)
    assert weight.std().item() == pytest.approx(width, rel=0.03)
    assert abs(weight.mean().item()) < 0.05 * width


@pytest.mark.parametrize(("name", "width"), [("xavier", math.sqrt(2 / (90 + 180))), ("he", math.sqrt(2 / 90))])
def test_a_convolution_counts_its_window(name, width):
    assert drawn(name, 20, 10, 3, 3).std().item() == pytest.approx(width, rel=0.06)


def test_none_is_beyond_two_widths():
    assert drawn("truncated", 300, 200).abs().max() <= 0.04
    assert drawn("normal", 300, 200).abs().max() > 0.06
    assert drawn("truncated", 300, 200, scale=0.5).abs().max() <= 0.02


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (20, 5, 2, 3)])
def test_right_angles(shape):
    flat = drawn("orthogonal", *shape).flatten(1)
    small = flat @ flat.T if len(flat) <= flat.shape[1] else flat.T @ flat
    assert torch.allclose(small, torch.eye(len(small)), atol=1e-5)


def test_a_width_below_zero_is_refused():
    with pytest.raises(ValueError, match="std: must be > 0"):
        Initialiser.choose({"normal": {"std": -1.0}})
