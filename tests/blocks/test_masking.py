import numpy as np
import pytest

from danlu.blocks import masking
from danlu.blocks.special_tokens import BERT
from danlu.plugins.tokenizers.wordpiece import Wordpiece


@pytest.fixture(scope="module")
def processor():
    texts = [*masking.SAMPLE, "unbelievable unbelievably believable"] * 3
    return Wordpiece(size=120).learn(texts, BERT, 64)


@pytest.fixture(scope="module")
def vocabulary(processor):
    return masking.Vocabulary.of(processor)


def _ids(processor, text):
    return np.array(processor.cut([text])[0], dtype=np.int64)


@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_the_share_is_kept_and_special_tokens_are_not_asked(processor, vocabulary, unit):
    ids = _ids(processor, " ".join(masking.SAMPLE))
    sizes = []
    for seed in range(200):
        at = masking.choose(ids, vocabulary, 0.15, unit, np.random.default_rng(seed))
        assert not vocabulary.special[ids[at]].any()
        assert (np.diff(at) > 0).all()
        sizes.append(len(at))
    assert max(sizes) <= max(10, round(0.15 * len(ids)))
    assert np.mean(sizes) == pytest.approx(0.15 * len(ids), rel=0.1)


def test_words_are_hidden_whole(processor, vocabulary):
    ids = _ids(processor, "the unbelievable cat sat")
    pieces = np.split(np.arange(1, len(ids) - 1), np.flatnonzero(vocabulary.begins[ids[2:-1]]) + 1)
    assert max(map(len, pieces)) > 1  # there is a word of several pieces
    for seed in range(50):
        at = set(masking.choose(ids, vocabulary, 0.4, "word", np.random.default_rng(seed)).tolist())
        assert all(at >= set(p.tolist()) or not at & set(p.tolist()) for p in pieces)


def test_spans_are_neighbours(processor, vocabulary):
    ids = _ids(processor, " ".join(masking.SAMPLE * 3))

    def neighbours(unit):
        found = [masking.choose(ids, vocabulary, 0.15, unit, np.random.default_rng(k)) for k in range(40)]
        return np.mean([np.mean(np.diff(at) == 1) for at in found])

    assert neighbours("span") > 2 * neighbours("token")


def test_eighty_ten_ten(vocabulary):
    ids = np.full(20_000, 50, dtype=np.int64)
    at = np.arange(0, 20_000, 2)
    hidden = masking.hide(ids, at, vocabulary, 0.1, 0.1, np.random.default_rng(0))
    assert (hidden[1::2] == 50).all()
    assert np.mean(hidden[at] == vocabulary.mask) == pytest.approx(0.8, abs=0.02)
    assert np.mean(hidden[at] == 50) == pytest.approx(0.1, abs=0.02)


def test_distance_of_gaps():
    one = [[{"token": "a", "probability": 0.7}, {"token": "b", "probability": 0.2}]]
    other = [[{"token": "b", "probability": 0.5}, {"token": "a", "probability": 0.4}]]
    assert masking.distance(one, one) == 0
    assert masking.distance(one, other) == pytest.approx(0.3)
    assert masking.distance(one, one * 2) == 1
