"""Shapes, holes, lines and transforms of a drawing become the pixels they should."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.blocks.svg import draw
from danlu.core.errors import DataError

RED, WHITE = [255, 0, 0], [255, 255, 255]


def drawn(inside: str) -> np.ndarray:
    return draw(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40">{inside}</svg>'.encode(), 40)


@pytest.mark.parametrize(
    "shape",
    [
        '<rect x="10" y="10" width="20" height="20" fill="#F00"/>',
        '<rect x="10" y="10" width="20" height="20" rx="3" fill="#FF0000"/>',
        '<circle cx="20" cy="20" r="12" fill="red"/>',
        '<ellipse cx="20" cy="20" rx="14" ry="12" fill="red"/>',
        '<polygon points="10,10 30,10 30,30 10,30" fill="red"/>',
        '<path d="M10,10h20v20H10z" fill="red"/>',
        '<path d="M8 20a12 12 0 1 1 24 0a12,12,0,1124 0" fill="red"/>'.replace("1124 0", "11-24 0"),
        '<path d="M8,20C8,4 32,4 32,20S8,36 8,20" fill="red"/>',
        '<path d="M8,20Q20,-6 32,20T8,20" fill="red"/><rect x="8" y="20" width="24" height="13" fill="red"/>',
        '<g transform="translate(20 20) scale(2)"><rect x="-5" y="-5" width="10" height="10" fill="red"/></g>',
        '<rect x="0" y="0" width="20" height="20" transform="matrix(1 0 0 1 10 10)" fill="red"/>',
        '<rect x="10" y="10" width="20" height="20" transform="rotate(90 20 20)" fill="red"/>',
        '<line x1="10" y1="20" x2="30" y2="20" stroke="red" stroke-width="24"/>',
        '<polyline points="20,10 20,30" fill="none" stroke="red" stroke-width="24" stroke-linecap="round"/>',
    ],
)
def test_a_shape_covers_the_middle_and_not_the_corner(shape):
    picture = drawn(shape)
    assert picture.shape == (40, 40, 3)
    for y, x in ((20, 20), (15, 20), (25, 20), (20, 14), (20, 26)):
        assert picture[y, x].tolist() == RED
    assert picture[2, 2].tolist() == picture[37, 2].tolist() == WHITE


def test_a_hole_is_a_line_that_goes_round_the_other_way():
    ring = '<path fill="red" {} d="M5,5h30v30h-30z M15,15{}z"/>'
    assert drawn(ring.format("", "v10h10v-10"))[20, 20].tolist() == WHITE
    assert drawn(ring.format("", "h10v10h-10"))[20, 20].tolist() == RED
    assert drawn(ring.format('fill-rule="evenodd"', "h10v10h-10"))[20, 20].tolist() == WHITE


def test_groups_hand_down_and_what_is_hidden_is_not_drawn():
    assert drawn('<g fill="red"><rect width="40" height="40"/></g>')[20, 20].tolist() == RED
    assert drawn('<g display="none"><rect width="40" height="40"/></g>')[20, 20].tolist() == WHITE
    half = drawn('<g opacity="0.5"><rect width="40" height="40" fill="red"/></g>')[20, 20]
    assert abs(int(half[1]) - 127) <= 1


@pytest.mark.parametrize("content", [b"", b"<svg", b"<svg/>", b'<svg viewBox="0 0 4"/>'])
def test_what_is_no_drawing_is_told(content):
    with pytest.raises(DataError, match="is no drawing that can be read"):
        draw(content, 8)
