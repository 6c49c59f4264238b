import pytest

from danlu.blocks.word_pieces import learn


def test_what_stands_together_most_often_is_joined_first():
    pieces = learn({"low": 5, "lower": 2, "newest": 6, "widest": 3}, 50)
    letters = sorted(set("lowernewestwidest"))
    assert pieces[: 2 * len(letters)] == [*letters, *(f"##{letter}" for letter in letters)]
    joined = pieces[2 * len(letters) :]
    assert joined[:2] == ["##es", "##est"]  # nine times each, as in the paper
    assert {"low", "newest", "widest"} <= set(joined)
    assert len(pieces) == len(set(pieces)) <= 50


def test_a_pair_that_occurs_once_is_not_joined():
    assert learn({"ab": 1}, 50) == ["a", "b", "##a", "##b"]


def test_repeated_letters_and_the_least_size():
    assert learn({"aaaa": 3}, 10)[:3] == ["a", "##a", "##aa"]
    assert len(learn({"abcdabcd": 9, "dcbadcba": 9}, 18)) == 18


def test_rare_letters_leave_their_place_and_their_words():
    pieces = learn({"aaa": 9, "bbb": 9, "žžž": 1}, 8)
    assert not any("ž" in piece for piece in pieces)


@pytest.mark.parametrize("size", [20, 40])
def test_letters_that_are_words_take_places_by_how_often_they_occur(size):
    rare = {chr(0x4E00 + place): 2 for place in range(100)}
    pieces = learn({"ab": 9, "月": 50, "明": 40, **rare}, size)
    assert pieces[:4] == ["a", "b", "##a", "##b"]
    assert pieces[4:7] == ["月", "明", "ab"]
    assert len(pieces) == size
    assert not any(piece.startswith("##") for piece in pieces[4:])
