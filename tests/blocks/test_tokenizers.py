"""Words are counted while texts go by, in bounded memory, and always in the same way."""

from __future__ import annotations

import pytest
from tokenizers import normalizers, pre_tokenizers

from danlu.blocks import tokenizers
from danlu.blocks.tokenizers import count_words, join_pairs, joined

CUTTER = pre_tokenizers.Whitespace()


def test_words_are_counted_once_through():
    words = count_words((text for text in ("a B a", "b")), normalizers.Lowercase(), CUTTER)
    assert words == {"a": 2, "b": 2}


def test_a_long_word_and_a_long_text_come_in_parts():
    assert count_words(["x" * 250], None, CUTTER) == {"x" * 100: 2, "x" * 50: 1}
    assert count_words(["ab " * 100_000], None, CUTTER)["ab"] > 99_990


def test_the_rarest_words_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(tokenizers, "MOST_WORDS", 100)
    stream = (f"often rare{place}" for place in range(5000))
    words = count_words(stream, None, CUTTER)
    assert len(words) <= 100
    assert words["often"] == 5000


@pytest.mark.parametrize("size", [4, 6])
def test_letters_come_first_then_pairs(size):
    made = join_pairs({"abab": 5, "abc": 3}, size, ("<s>",), ("z",))
    names = [made.id_to_token(place) for place in range(made.get_vocab_size())]
    assert names[:5] == ["<s>", "a", "b", "c", "z"]
    assert names[5:] == ["ab"][: max(0, size - 5)]
    assert joined({"abab": 5, "abc": 3}, 99)[0] == "ab"
