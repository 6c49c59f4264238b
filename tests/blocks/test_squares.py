"""Pictures as squares and back."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.blocks import squares


@pytest.mark.parametrize(("shape", "side", "places"), [((1, 8, 8), 2, 16), ((3, 5, 7), 3, 6), ((1, 1, 1), 4, 1)])
def test_joined_is_the_inverse_of_cut(shape, side, places):
    picture = np.random.default_rng(0).normal(size=shape)
    cut = squares.cut(picture, side)
    assert cut.shape == (places, shape[0] * side**2)
    assert (squares.joined(cut, shape, side) == picture).all()


def test_squares_are_counted_row_by_row():
    picture = np.arange(16).reshape(1, 4, 4)
    assert squares.cut(picture, 2)[1].tolist() == [2, 3, 6, 7]
