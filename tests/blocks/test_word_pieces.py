import os
import subprocess
import sys

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
    assert learn({"aaaa": 3}, 10) == ["a", "##a", "##aa", "##aaa", "aaaa"]
    assert len(learn({"abcdabcd": 9, "dcbadcba": 9}, 18)) == 18


def test_rare_letters_leave_their_place_and_their_words():
    pieces = learn({"aaa": 9, "bbb": 9, "žžž": 1}, 8)
    assert not any("ž" in piece for piece in pieces)


@pytest.mark.parametrize("text", ["the cat sat on the mat and that was that", "一个 一天 一 天天"])
def test_every_process_learns_the_same(text):
    code = f"from collections import Counter; from danlu.blocks.word_pieces import learn; print(learn(Counter({text!r}.split()), 60))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != b""
