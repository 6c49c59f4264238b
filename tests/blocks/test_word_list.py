from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from danlu.blocks.word_list import NOTHING, WordList, cut
from danlu.core.errors import DataError, MachineError


def learnt(*texts: str, **options) -> WordList:
    return WordList.learn(texts, **{"least": 1, "most": 100} | options)


def test_the_commonest_words_come_first_and_rare_ones_are_left_out():
    words = learnt("b a b c", "B, a! rare", least=2)
    assert words.names == ("b", "a")
    assert words.counts.tolist() == [3, 2]
    assert learnt("b a b c", most=2).names == ("b", "a")


def test_words_are_cut_without_marks_and_chinese_by_characters():
    assert cut("Don't _stop_ 2 times, 国王!", "characters") == ["don't", "stop", "2", "times", "国", "王"]


def test_jieba_cuts_runs_of_characters_alone(monkeypatch):
    stub = types.SimpleNamespace(lcut=lambda run: [run[:2], run[2:]])
    monkeypatch.setitem(sys.modules, "jieba", stub)
    assert cut("the 国王万岁 king!", "jieba") == ["the", "国王", "万岁", "king"]
    assert cut("国王万岁", "jieba") == ["国王", "万岁"]


def test_jieba_is_named_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(MachineError, match=r"danlu\[chinese\]"):
        learnt("国王", chinese="jieba")


def test_a_text_gives_the_ids_of_its_known_words():
    words = learnt("b a b a b c c")
    assert words.inputs("C, x a!")["text"].tolist() == [words.place("c"), words.place("a")]
    assert words.inputs("x y")["text"].tolist() == [NOTHING]
    assert words.inputs("")["text"].tolist() == [NOTHING]
    assert len(words.inputs("a b c", limit=2)["text"]) == 2


def test_an_unknown_word_is_told_with_the_nearest_spelling():
    words = learnt("king queen prince and the long one")
    with pytest.raises(DataError, match="'quen' is not known; did you mean queen"):
        words.place("quen")
    with pytest.raises(DataError, match=r"'zzz' is not known\n"):
        words.place("zzz")
    assert words.place(" KING ") == words.place("king")


@pytest.mark.parametrize("texts", [(), ("",), ("one",), ("one one one",), ("!!!", "...")])
def test_too_little_text_is_refused(texts):
    with pytest.raises(DataError, match="words occur 1 times or more"):
        learnt(*texts)


def test_drawn_words_are_there_as_often_as_they_are_used():
    words = WordList(["the", "king", "owl"], [75, 20, 5])
    assert np.bincount(words.drawn(100)).tolist() == [75, 20, 5]


def test_it_survives_the_disk(tmp_path):
    words = learnt("国 王 b a b")
    words.save(tmp_path)
    loaded = WordList.load(tmp_path)
    assert (loaded.names, loaded.counts.tolist(), loaded.chinese) == (words.names, words.counts.tolist(), "characters")
    (tmp_path / "words.json").write_text("{}")
    with pytest.raises(DataError, match="the list of words can't be read"):
        WordList.load(tmp_path)
