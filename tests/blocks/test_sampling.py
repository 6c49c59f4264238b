from types import SimpleNamespace

import numpy as np
import pytest

from danlu.blocks.sampling import Request, draw
from danlu.core.errors import DataError

DEFAULTS = SimpleNamespace(most=9, temperature=0.5, top_p=0.9, seed=3)


def test_a_text_alone_takes_the_defaults():
    assert Request.of("Once", DEFAULTS) == Request("Once", 9, 0.5, 0.9, 3)
    assert Request.of({"text": "Once", "most": 2, "temperature": 0}, DEFAULTS) == Request("Once", 2, 0, 0.9, 3)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (7, "give the beginning of a text"),
        ({}, "give the beginning of a text"),
        ({"text": "a", "long": 1}, "a request has no 'long'"),
        ({"text": "a", "most": 0}, "most must be a number from 1"),
        ({"text": "a", "most": True}, "most must be a number from 1"),
        ({"text": "a", "temperature": float("nan")}, "temperature must be a number"),
        ({"text": "a", "seed": -1}, "seed must be a number"),
    ],
)
def test_what_is_no_request(asked, told):
    with pytest.raises(DataError, match=told):
        Request.of(asked, DEFAULTS)


def test_drawing():
    scores = np.log([0.5, 0.3, 0.15, 0.05])
    assert {draw(scores, 0, 1.0, np.random.default_rng(k)) for k in range(9)} == {0}
    rng = np.random.default_rng(0)
    drawn = np.bincount([draw(scores, 1.0, 1.0, rng) for _ in range(4000)], minlength=4) / 4000
    assert drawn == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert {draw(scores, 1.0, 0.6, rng) for _ in range(200)} == {0, 1}
    with pytest.raises(DataError, match="not finite"):
        draw(np.full(4, np.nan), 1.0, 1.0, rng)
