"""How two sets of labels differ, in words."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 10


def listed(labels: Sequence[str], most: int = _MOST) -> str:
    """`bad, good`, and how many more there are beyond `most`."""
    more = f" and {len(labels) - most:,} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


def difference(one: Sequence[str], other: Sequence[str], *, more: str = "gained", less: str = "lost") -> str:
    """What `other` has besides, and what it lacks: `gained neutral; lost bad, good`; empty where both are the same.

    `more` and `less` are the words for it. The same labels in another order are told as such.
    """
    here, there = set(other), set(one)
    parts = [f"{more} {listed(besides)}"] if (besides := [label for label in other if label not in there]) else []
    if lacking := [label for label in one if label not in here]:
        parts.append(f"{less} {listed(lacking)}")
    if not parts and list(one) != list(other):
        return f"the same labels in another order: {listed(one)}, and {listed(other)}"
    return "; ".join(parts)
