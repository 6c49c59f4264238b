import numpy as np
import pytest

from danlu.blocks.corpus import Blocks, Corpus
from danlu.contracts import Example
from danlu.core.errors import DataError


def _cut(texts):
    return [[len(word) for word in text.split()] for text in texts]


def _corpus(folder, texts, key=("a",), told=lambda _: None):
    return Corpus.of(folder, iter(texts), _cut, key=key, told=told)


def test_documents_lie_one_after_another(tmp_path):
    corpus = _corpus(tmp_path, ["a bb ccc", "", "dddd eeeee"])
    assert corpus.ids.tolist() == [1, 2, 3, 4, 5]
    assert corpus.ends.tolist() == [3, 5]
    ids, segments = corpus.block(0, 4)
    assert ids.tolist() == [1, 2, 3, 4]
    assert segments.tolist() == [1, 1, 1, 2]
    ids, segments = corpus.block(1, 4)
    assert ids.tolist() == [5]
    assert segments.tolist() == [1]


def test_a_second_time_nothing_is_read(tmp_path):
    first = _corpus(tmp_path, ["a bb"])

    def never():
        raise AssertionError("it was read again")
        yield

    again = Corpus.of(tmp_path, never(), _cut, key=("a",))
    assert again.ids.tolist() == first.ids.tolist()
    other = _corpus(tmp_path, ["ccc"], key=("b",))
    assert other.ids.tolist() == [3]


def test_what_was_cut_short_is_not_found(tmp_path):
    def broken():
        yield "a bb"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Corpus.of(tmp_path, broken(), _cut, key=("a",))
    assert list(tmp_path.iterdir()) == []
    assert _corpus(tmp_path, ["ccc"]).ids.tolist() == [3]


def test_wide_ids_and_many_texts(tmp_path):
    said = []
    corpus = Corpus.of(
        tmp_path, (str(k) for k in range(2500)), lambda texts: [[int(t) * 100] for t in texts], key=("w",),
        told=said.append,
    )  # fmt: skip
    assert corpus.ids.tolist() == [100 * k for k in range(2500)]
    assert said == [1000, 2000, 2500]


def test_nothing_to_learn_from(tmp_path):
    with pytest.raises(DataError, match="no text to learn from"):
        _corpus(tmp_path, ["", " "])


def test_blocks_are_examples_of_equal_length(tmp_path):
    corpus = _corpus(tmp_path, ["a " * 10, "bb " * 7])
    blocks = Blocks(corpus, 4, lambda ids, segments: Example({"ids": ids, "segments": segments}))
    assert blocks.lengths.tolist() == [4, 4, 4, 4]  # the last token alone teaches nothing
    assert len(blocks) == 4
    joined = np.concatenate([example.inputs["ids"] for example in blocks])
    assert joined.tolist() == [1] * 10 + [2] * 6
    assert blocks[-1].inputs["segments"].tolist() == [1, 1, 1, 1]
    assert [len(e.inputs["ids"]) for e in blocks[1:3]] == [4, 4]
    with pytest.raises(IndexError):
        blocks[4]
