"""Which rows are worth a person's label: those a model doubts, and those unlike one another (active learning)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_matrix

from danlu.blocks.pixels import open_picture

Floats: TypeAlias = np.ndarray[Any, Any]
Places: TypeAlias = np.ndarray[Any, Any]

STRATEGIES = ("combined", "uncertainty", "entropy", "margin", "diversity")
_POOL = 10
"""`combined` chooses among this many times as many rows as are asked for (Zhdanov, 2019: 10 to 50)."""
_SIDE = 8
_SAME = 1e-6


def doubt(scores: Floats, by: str) -> Floats:
    """How much a model doubts each row, from 0 (sure) to 1 (every label alike); `scores` [n, labels] sum to 1.

    `uncertainty` is how far the best score is below 1, `margin` how near the second comes to the best, `entropy` the
    Shannon entropy; see Settles, "Active Learning Literature Survey", 2009.
    """
    labels = scores.shape[1]
    if labels < 2:
        return np.zeros(len(scores))
    best = -np.sort(-scores, axis=1)
    if by == "uncertainty":
        return np.asarray((1 - best[:, 0]) * labels / (labels - 1))
    if by == "entropy":
        return np.asarray(-(scores * np.log(np.maximum(scores, 1e-12))).sum(1) / np.log(labels))
    return np.asarray(1 - (best[:, 0] - best[:, 1]))


def unlike(rows: csr_matrix, count: int, rng: np.random.Generator, weights: Floats | None = None) -> Places:
    """Places of at most `count` rows that are far from one another: the seeding of k-means++ by cosine.

    The first is the heaviest, or without weights the most typical; each next one is drawn with a chance of its weight
    times its squared distance to the nearest chosen one (Arthur & Vassilvitskii, 2007). Rows equal to a chosen one are
    never chosen, so there may be fewer. `rows` [n, features].
    """
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(1))).ravel()
    unit = csr_matrix(rows.multiply(1 / np.maximum(length, 1e-12)[:, None]))
    typical = np.asarray(unit @ np.asarray(unit.mean(0)).ravel()).ravel()
    weights = np.ones(unit.shape[0]) if weights is None else weights
    nearest = np.full(unit.shape[0], np.inf)
    pick = int((weights if np.ptp(weights) else typical).argmax())
    chosen = [pick]
    while len(chosen) < min(count, unit.shape[0]):
        cosine = np.asarray((unit @ unit[pick].T).todense()).ravel()
        nearest = np.minimum(nearest, np.maximum(2 - 2 * cosine, 0))
        nearest[pick] = 0
        chance = np.where(nearest > _SAME, nearest * np.maximum(weights, _SAME), 0)
        if not chance.any():
            break
        pick = int(rng.choice(len(chance), p=chance / chance.sum()))
        chosen.append(pick)
    return np.array(chosen, dtype=np.int64)


def pick(
    scores: Floats | None, features: Callable[[Places], csr_matrix], rows: int, count: int, by: str, seed: int = 0
) -> Places:
    """Places of the `count` rows (or fewer) to label, the first the most wanted.

    `scores` [rows, labels] are a model's, None without one; `features` gives the rows of some places as numbers.
    `combined` takes the ten times as many rows of the least margin, and of these some that are unlike one another:
    the most doubtful rows alone are often nearly the same one. Raises ValueError for a strategy that needs a model.
    """
    rng = np.random.default_rng(seed)
    everything = np.arange(rows)
    if by == "diversity" or (by == "combined" and scores is None):
        return unlike(features(everything), count, rng)
    if scores is None:
        raise ValueError(f"{by} needs the scores of a model")
    doubts = doubt(scores, by)
    order = np.argsort(-doubts, kind="stable")
    if by != "combined":
        return np.asarray(order[:count])
    pool = order[: _POOL * count]
    return np.asarray(pool[unlike(features(pool), count, rng, doubts[pool])])


def thumbnails(pictures: Sequence[Any]) -> csr_matrix:
    """Pictures (paths or bytes) as 8×8 colours, less their mean: [n, 192]. Raises DataError for a broken one."""
    small = [np.asarray(open_picture(x).convert("RGB").resize((_SIDE, _SIDE)), np.float32).ravel() for x in pictures]
    return csr_matrix(np.stack(small) - np.mean(small, axis=0))
