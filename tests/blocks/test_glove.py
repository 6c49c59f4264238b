from __future__ import annotations

import numpy as np
import pytest

from danlu.blocks import glove

TEXTS = np.array([[0, 1, 2, 1], [2, 2, -1, -1], [3, -1, -1, -1]])


def slowly(texts, words: int, window: int):
    counts = np.zeros((words, words))
    for row in texts:
        ids = [i for i in row if i >= 0]
        for a in range(len(ids)):
            for b in range(a + 1, min(len(ids), a + window + 1)):
                counts[ids[a], ids[b]] += 1 / (b - a)
                counts[ids[b], ids[a]] += 1 / (b - a)
    return counts


@pytest.mark.parametrize("window", [1, 2, 10])
def test_counts_are_those_of_two_plain_loops(window, monkeypatch):
    texts = np.random.default_rng(0).integers(0, 9, (30, 12))
    texts[3, 5:], texts[7, 1:] = -1, -1
    monkeypatch.setattr(glove, "_PAIRS_AT_ONCE", 200)
    assert np.allclose(glove.count(texts, 9, window).toarray(), slowly(texts, 9, window), atol=1e-5)


def test_a_pair_of_one_word_counts_both_ways_and_padding_not_at_all():
    counts = glove.count(TEXTS, 4, 10).toarray()
    assert counts[2, 2] == 2.0
    assert not counts[3].any()
    assert glove.count(np.array([[0], [1]]), 2, 5).nnz == 0


def one_after_another(counts, *, size, passes, rate, most, power, seed):
    """The paper's algorithm, a pair at a time."""
    rng = np.random.default_rng(seed)
    sides = [glove._Side.drawn(counts.shape[0], size, rng) for _ in range(2)]
    pairs = counts.tocoo()
    for _ in range(passes):
        for k in rng.permutation(pairs.nnz):
            i, j, x = pairs.row[k], pairs.col[k], pairs.data[k]
            (w, b), (v, c) = ((side.vectors, side.biases) for side in sides)
            slope = min(1, (x / most) ** power) * (w[i] @ v[j] + b[i] + c[j] - np.log(x))
            for side, place, by in ((sides[0], i, v[j].copy()), (sides[1], j, w[i].copy())):
                side.of_vectors[place] += (slope * by) ** 2
                side.vectors[place] -= rate * slope * by / np.sqrt(side.of_vectors[place])
                side.of_biases[place] += slope**2
                side.biases[place] -= rate * slope / np.sqrt(side.of_biases[place])
    return sides


HOW = {"size": 6, "passes": 20, "rate": 0.05, "most": 10.0, "power": 0.75, "seed": 3}


def test_one_pair_a_batch_is_the_paper_exactly(monkeypatch):
    counts = glove.count(np.random.default_rng(0).integers(0, 6, (5, 8)), 6, 3)
    monkeypatch.setattr(glove, "_LEAST_BATCHES", 10**6)
    left, right = one_after_another(counts, **HOW)
    found = glove.learn(counts, **HOW)
    assert np.abs(found - (left.vectors + right.vectors)).max() < 1e-5


def test_batches_come_as_near_to_the_counts_as_one_pair_after_another(monkeypatch):
    counts = glove.count(np.random.default_rng(0).zipf(1.5, (60, 10)) % 30, 30, 5)
    pairs, sides = counts.tocoo(), []

    def error(left, right):
        said = (left.vectors[pairs.row] * right.vectors[pairs.col]).sum(1) + left.biases[pairs.row]
        weights = np.minimum(1, (pairs.data / HOW["most"]) ** HOW["power"])
        return (weights * (said + right.biases[pairs.col] - np.log(pairs.data)) ** 2).mean()

    drawn = glove._Side.drawn
    monkeypatch.setattr(glove._Side, "drawn", lambda *given: sides.append(drawn(*given)) or sides[-1])
    glove.learn(counts, **HOW)
    ours = error(*sides)
    theirs = error(*one_after_another(counts, **HOW))
    untaught = error(*(drawn(30, 6, np.random.default_rng(k)) for k in range(2)))
    assert ours < 1.1 * theirs < 0.5 * untaught


def test_the_seed_decides():
    counts = glove.count(TEXTS, 4, 2)
    assert np.array_equal(glove.learn(counts, **HOW), glove.learn(counts, **HOW))
    assert not np.array_equal(glove.learn(counts, **HOW), glove.learn(counts, **HOW | {"seed": 4}))
