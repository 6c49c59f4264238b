"""A unigram model finds the words that texts without spaces are made of."""

from __future__ import annotations

import math
import random

from danlu.blocks.unigram import learn

WORDS = ("amber", "basil", "cedar", "dill", "elder", "fennel", "garlic", "hazel")


def run_together(seed=0, rows=300):
    rng = random.Random(seed)
    return {"".join(rng.choices(WORDS, k=4)): 1 for _ in range(rows)}


def test_words_are_found_where_no_space_tells_them():
    pieces = dict(learn(run_together(), 32))
    letters = {letter for word in WORDS for letter in word}
    assert letters <= set(pieces)
    assert set(WORDS) <= set(pieces)
    assert len(pieces) == 32


def test_letters_stand_first_and_shares_add_up_to_one():
    pieces = learn(run_together(), 40)
    letters = sorted({letter for word in WORDS for letter in word})
    assert [piece for piece, _ in pieces[: len(letters)]] == letters
    assert abs(sum(math.exp(score) for _, score in pieces) - 1) < 1e-3
    others = [score for _, score in pieces[len(letters) :]]
    assert others == sorted(others, reverse=True)


def test_the_order_of_the_counts_changes_nothing():
    words = run_together()
    assert learn(words, 30) == learn(dict(reversed(words.items())), 30)


def test_what_is_common_becomes_one_piece():
    assert "amber" in dict(learn({"amber": 90, "basil": 2, "bae": 40, "rim": 40}, 16))


def test_a_rare_letter_leaves_its_place_and_its_words():
    pieces = dict(learn({"aaab": 9, "abab": 9, "až": 1}, 4))
    assert {"a", "b"} <= set(pieces)
    assert not any("ž" in piece for piece in pieces)
    assert len(learn({"ab": 1}, 50)) == 2
