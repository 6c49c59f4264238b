"""InfoNCE against a plain sum of exponents."""

import math

import pytest
import torch
from torch.nn import functional

from danlu.blocks.contrast import belonging, info_nce

N, WIDTH = 5, 6


def vectors(k=1, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(N, WIDTH, generator=drawn), [torch.randn(N, WIDTH, generator=drawn) for _ in range(k)]


def nothing(k=1):
    return torch.zeros(N, N * k, dtype=torch.bool)


def by_hand(queries, passages, row, left_out=()):
    candidates = [p[j] for p in passages for j in range(N)]
    said = [math.exp(functional.cosine_similarity(queries[row], c, dim=0) / 0.1) for c in candidates]
    return -math.log(said[row] / sum(one for place, one in enumerate(said) if place not in left_out))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_is_the_share_of_the_own_passage(k):
    queries, passages = vectors(k)
    found = info_nce(queries, passages, nothing(k), temperature=0.1)
    assert found.tolist() == pytest.approx([by_hand(queries, passages, row) for row in range(N)], rel=1e-4)


def test_both_ways_is_the_mean_of_both():
    queries, (passages,) = vectors()
    one, other = (info_nce(a, [b], nothing(), temperature=0.1) for a, b in ((queries, passages), (passages, queries)))
    found = info_nce(queries, [passages], nothing(), temperature=0.1, symmetric=True)
    assert found.tolist() == pytest.approx(((one + other) / 2).tolist(), rel=1e-4)


def test_what_belongs_to_a_query_is_no_negative():
    queries, passages = vectors(2)
    numbers = torch.tensor([[10, 90], [11, 91], [10, 92], [13, 93], [14, 10]])
    same = belonging(torch.tensor([1, 2, 3, 4, 1]), numbers)
    assert same[0].nonzero().flatten().tolist() == [0, 2, 4, 9], "its own, an equal one, an equal query's, a negative's"
    found = info_nce(queries, passages, same, temperature=0.1)
    assert found[0].item() == pytest.approx(by_hand(queries, passages, 0, (2, 4, 9)), rel=1e-4)


def test_shorter_vectors_count_alike():
    queries, (passages,) = vectors()
    whole = info_nce(queries, [passages], nothing(), temperature=0.1)
    short = info_nce(queries[:, :2], [passages[:, :2]], nothing(), temperature=0.1)
    found = info_nce(queries, [passages], nothing(), temperature=0.1, sizes=(2,))
    assert found.tolist() == pytest.approx(((whole + short) / 2).tolist(), rel=1e-4)
