"""Rows spread over the whole of a stream that may not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa


def spread(batches: Iterable[pa.RecordBatch], most: int | None) -> tuple[pa.Table | None, np.ndarray, int]:
    """Every row, or of more than `most` every second, fourth, eighth …; their places [n]; how many rows there were.

    At least half of `most` rows are kept. The table is None when there was not one batch.
    """
    kept: list[pa.RecordBatch] = []
    places: list[np.ndarray] = []
    step, total, held = 1, 0, 0
    for batch in batches:
        rows = np.arange(-total % step, batch.num_rows, step, dtype=np.int64)
        kept.append(batch if step == 1 else batch.take(pa.array(rows)))
        places.append(rows + total)
        total += batch.num_rows
        held += len(rows)
        while most is not None and held > most:
            step *= 2
            whole = pa.Table.from_batches(kept)
            kept = whole.take(pa.array(np.arange(0, held, 2))).combine_chunks().to_batches()
            places = [np.concatenate(places)[::2]]
            held = len(places[0])
    return (pa.Table.from_batches(kept) if kept else None), np.concatenate([np.zeros(0, np.int64), *places]), total
