import pytest

from danlu.blocks.label_sets import difference, listed


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("ab", "ab", ""),
        ("ab", "abc", "gained c"),
        ("abc", "c", "lost a, b"),
        ("ab", "bc", "gained c; lost a"),
        ("ab", "ba", "the same labels in another order: a, b, and b, a"),
    ],
)
def test_what_differs_is_named(one, other, told):
    assert difference(list(one), list(other)) == told


def test_the_words_for_it_are_the_callers():
    assert difference(["x"], ["y"], more="only here", less="only there") == "only here y; only there x"


def test_many_labels_are_counted():
    assert listed([str(k) for k in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert listed(["a", "b"], 1) == "a and 1 more"
