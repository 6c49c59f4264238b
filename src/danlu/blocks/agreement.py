"""Whether rows that say the same bear the same label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import pyarrow as pa

from danlu.blocks.splits import row_keys


def label_keys(table: pa.Table, gold: Sequence[str]) -> list[bytes] | None:
    """What tells the truth of one row [n] from another's, byte for byte; None where the table holds no truth."""
    return row_keys(table, gold, exact=True) if gold and set(gold) <= set(table.column_names) else None


def in_conflict(keys: Iterable[Hashable], labels: Iterable[bytes] | None) -> set[Hashable]:
    """The keys that stand under more than one label."""
    found: dict[Hashable, set[bytes]] = defaultdict(set)
    for key, label in zip(keys, labels or (), strict=labels is not None):
        found[key].add(label)
    return {key for key, under in found.items() if len(under) > 1}
