import pytest

from danlu.blocks.personal.folding import fold


@pytest.mark.parametrize(
    ("text", "folded", "places"),
    [
        ("plain 1-2", "plain 1-2", None),
        ("Ａ１＠：，（", "A1@:,(", None),
        ("1\u00a02\u30003\u20134−5", "1 2 3-4-5", None),
        ("٣۴", "34", None),
        ("1\u200b2\ufeff3", "123", [0, 2, 4]),
        ("电话。", "电话。", None),
    ],
)
def test_one_spelling_and_the_way_back(text, folded, places):
    assert fold(text) == (folded, places)
