"""Groups of rows that hang together, from pairs that do (union-find)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def unite(group: Places, one: Places, other: Places) -> Places:
    """The groups [n] after the rows `one` [k] and `other` [k] were put together; a group's number is its first row."""
    if not len(one):
        return group
    names, ends = np.unique(np.concatenate([group[one], group[other]]), return_inverse=True)
    edges = (np.ones(len(one), np.int8), (ends[: len(one)], ends[len(one) :]))
    count, part = connected_components(coo_matrix(edges, shape=(len(names), len(names))), directed=False)
    first = np.full(count, len(group), np.int64)
    np.minimum.at(first, part, names)
    renamed = np.arange(len(group))
    renamed[names] = first[part]
    merged: Places = renamed[group]
    return merged


def together(groups: list[Places]) -> Places:
    """Rows that share a group in every one of the groupings; a group's number is its first row."""
    pairs = np.stack(groups, axis=1)
    _, first, part = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    merged: Places = first[part.ravel()].astype(np.int64)
    return merged
