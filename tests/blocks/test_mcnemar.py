import pytest

from danlu.blocks.mcnemar import mcnemar


@pytest.mark.parametrize(
    ("lost", "gained", "exact", "mid_p"),
    [
        (0, 0, 1.0, 1.0),
        (1, 9, 0.021484375, 0.01171875),  # 2 (1 + 10) / 1024, less 10 / 1024
        (9, 1, 0.021484375, 0.01171875),
        (5, 5, 1.0, 1 - 252 / 2048),
        (0, 1, 1.0, 0.5),
        (2, 14, 274 / 65536, 154 / 65536),
    ],
)
def test_p_values(lost, gained, exact, mid_p):
    assert mcnemar(lost, gained) == pytest.approx({"exact": exact, "mid_p": mid_p})


def test_many_rows_neither_overflow_nor_lose_digits():
    assert mcnemar(4000, 4000)["exact"] == 1.0
    assert 0 < mcnemar(400, 600)["exact"] < 1e-9
    assert mcnemar(0, 5000) == {"exact": 0.0, "mid_p": 0.0}  # below the smallest float
