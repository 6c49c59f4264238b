import numpy as np
import pytest

from danlu.blocks import lookalikes
from danlu.blocks.lookalikes import picture_clusters


def given(count, seed, planted=200, most=9):
    """Hashes drawn at random, and some of them again with up to `most` other bits."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 63, count, dtype=np.uint64)
    for at in rng.integers(0, count, planted):
        flips = rng.choice(64, rng.integers(0, most + 1), replace=False)
        hashes[rng.integers(count)] = hashes[at] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64))
    return hashes, rng.integers(0, 60, (count, 16, 16)).astype(np.uint8)


def by_brute_force(hashes, small, bits, difference):
    """Every pair, one after another."""
    group = list(range(len(hashes)))
    for one in range(len(hashes)):
        near = np.flatnonzero(np.bitwise_count(hashes[one] ^ hashes[one + 1 :]) <= bits) + one + 1
        for other in near.tolist():
            if np.abs(small[one].astype(int) - small[other]).mean() <= difference:
                low, high = sorted((group[one], group[other]))
                group = [low if g == high else g for g in group]
    return group


@pytest.mark.parametrize("bits", [0, 3, 6, 8, 12, 20])
@pytest.mark.parametrize("difference", [20.0, 255.0])
def test_the_clusters_are_those_of_all_pairs(bits, difference):
    hashes, small = given(1500, seed=bits)
    expected = by_brute_force(hashes, small, bits, difference)
    assert picture_clusters(hashes, small, bits, difference).tolist() == expected
    if difference == 255.0:
        assert len(set(expected)) < 1500


def test_a_difference_that_all_bands_share_is_found():
    """Four bands with two bits each: within 8, and no band is the same."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 2000, dtype=np.uint64)
    hashes[1999] = hashes[0] ^ np.uint64(0x0003_0003_0003_0003)
    same = np.zeros((2000, 16, 16), np.uint8)
    assert picture_clusters(hashes, same, 8, 0.0)[1999] == 0
    assert picture_clusters(hashes, same, 7, 0.0)[1999] == 1999


def test_few_of_the_pairs_are_compared(monkeypatch):
    hashes, _ = given(4000, seed=1)
    counted = [len(one) for one, _ in lookalikes._sharing(hashes, np.array([0, *(1 << np.arange(16))]))]
    assert sum(counted) < 4000**2 / 2 / 40


def test_many_in_one_bucket_come_in_pieces(monkeypatch):
    monkeypatch.setattr(lookalikes, "_PAIRS", 1000)
    monkeypatch.setattr(lookalikes, "_COMPARED", 64)
    hashes, small = np.zeros(300, np.uint64), np.zeros((300, 16, 16), np.uint8)
    assert set(picture_clusters(hashes, small, 2, 0.0)) == {0}
    assert picture_clusters(hashes[:1], small[:1], 6, 12.0).tolist() == [0]
    assert picture_clusters(hashes[:0], small[:0], 6, 12.0).tolist() == []
