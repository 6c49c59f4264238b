import pytest

from danlu.blocks.header import why_a_row

LONG = "one two three four five six seven"


def texts(*labels):
    return [[f"{LONG} {k}", label] for k, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("names", "rows", "why"),
    [
        (["a fine film", "pos"], texts("neg", "pos", "pos"), "'pos' stands 2 times in the first 3 rows below it"),
        (["a fine film", "1"], texts("0", "1", "1"), "'1' stands 2 times"),
        (["a fine film", "3.5"], texts("2", "4.1", "1"), "3.5 is a number, as what is below it"),
        ([f"{LONG} x", "7"], texts("2", "4", "1"), "is a sentence, as what is below it; 7 is a number"),
        ([LONG], [[f"{LONG} {k}"] for k in range(5)], "is a sentence"),
        (["2024-01-05", "7"], [["2024-01-06", "8"], ["2024-01-07", "9"]], "2024-01-05 is a date"),
        ([" pos ", "x"], [["pos", "y"]] * 3, "'pos' stands 3 times"),
    ],
)
def test_a_row_is_known(names, rows, why):
    assert why in why_a_row(names, rows)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["text", "label"], texts("neg", "pos", "pos")),
        (["comment", "5"], texts("2", "4", "1")),
        (["0", "1"], texts("0", "1", "1")),
        (["country", "2019", "2020"], [["a", "2019", "7"], ["b", "2019", "8"], ["c", "9", "2020"]]),
        (["0.05", "0.5", "0.95"], [["1.2", "3.4", "5.6"], ["2.1", "4.3", "6.5"]]),
        (["How was your stay in our house by the sea?", "stars"], [["short", "5"], ["words", "4"]]),
        (["text", "label"], [*texts("neg", "pos"), ["text", "label"], ["text", "label"]]),
        (["a fine film", "pos"], texts("pos")),
        (["a", ""], [["", ""], ["", ""]]),
        (["pos", "x"], []),
    ],
)
def test_names_are_left_in_peace(names, rows):
    assert why_a_row(names, rows) == ""


def test_one_row_of_many_proves_nothing():
    rows = [[f"{LONG} {k}", f"word{k}"] for k in range(500)]
    assert why_a_row(["text", "word7"], rows) == ""
    assert why_a_row(["text", "word7"], [*rows, *[["x", "word7"]] * 9]) == ""
    assert why_a_row(["text", "word7"], [*rows, *[["x", "word7"]] * 20])
