"""The training and validation rows of a data set in k parts, each of which is held out once; and what was said of them.

Rows with the same input lie in one part, and every label is spread evenly. The test rows are in none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from danlu.blocks.dataset import DataSet
from danlu.blocks.splits import key_array
from danlu.contracts import Answer, iterate_rows, labels_of
from danlu.core.errors import DataError

_POOL = ("train", "validation")
_FILE = "out_of_fold.safetensors"

Places = np.ndarray[Any, np.dtype[np.int64]]
Scores = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Fold(DataSet):
    """A data set that validates on one part of the pool and trains on all others."""

    held: Places
    """Which rows of the pool it validates on."""
    number: int
    """From 1."""

    def numbered(self, split: str) -> pa.Table:
        if split not in _POOL:
            return super().numbered(split)
        rows = pa.concat_tables([super(Fold, self).numbered(one) for one in _POOL], promote_options="default")
        mine = np.isin(np.arange(rows.num_rows), self.held)
        return rows.filter(pa.array(mine if split == "validation" else ~mine))

    def each(self, split: str) -> Iterator[dict[str, Any]]:
        return iterate_rows(self.table(split))

    def size(self, split: str) -> int:
        return sum(super(Fold, self).size(one) for one in _POOL) if split in _POOL else super().size(split)


def parts(data: DataSet, folds: int, seed: int) -> list[Fold]:
    """The data set in so many folds. Raises DataError for fewer different inputs than folds."""
    pool = pa.concat_tables([data.table(split) for split in _POOL], promote_options="default")
    keys, first, inverse = np.unique(
        key_array(pool, data.task.columns().ask), return_index=True, return_inverse=True
    )  # fmt: skip
    if len(keys) < folds:
        raise DataError(f"{len(keys)} different inputs are too few for {folds} folds", do="give more rows, or folds=2")
    labels = ["\x1f".join(labels_of(data.task.gold(row))) for row in iterate_rows(pool.take(pa.array(first)))]
    order = np.random.default_rng([seed, len(keys)]).permutation(len(keys))
    order = order[np.argsort(np.asarray(labels)[order], kind="stable")]  # label by label, dealt like cards
    place = np.empty(len(keys), np.int64)
    place[order] = np.arange(len(keys)) % folds
    found = []
    for number in range(folds):
        held = np.flatnonzero(place[inverse] == number)
        rows = {**data.info["rows"], "train": pool.num_rows - len(held), "validation": len(held)}
        found.append(Fold(data.folder, data.task, {**data.info, "rows": rows}, held, number + 1))
    return found


def pooled(data: DataSet) -> tuple[list[Any], list[Answer]]:
    """The inputs of all parts and their true answers, in the order of the pool: training rows, validation rows."""
    train, validation = (data.judged(split) for split in _POOL)
    return train[0] + validation[0], train[1] + validation[1]


# ---- what was said of each part by the model that did not learn it ---------------------------------------------------


def scores(answers: Sequence[Any]) -> Scores:
    """The scores [n, labels] of answers with labels."""
    return np.array([list(answer["scores"].values()) for answer in answers], np.float32)


def write_out_of_fold(folder: Path, data: DataSet, said: Scores) -> None:
    """Write the scores [rows of the pool, labels] beside a model, with the digest of the data set."""
    save_file({"scores": said}, folder / _FILE, {"dataset": str(data.info["digest"])})


def out_of_fold(folder: Path, data: DataSet) -> Scores | None:
    """Those of a model's folder; None where it has none of this data set. Raises DataError for a damaged file."""
    if not (folder / _FILE).is_file():
        return None
    try:
        with safe_open(folder / _FILE, framework="numpy") as file:
            if file.metadata().get("dataset") != data.info["digest"]:
                return None
            found: Scores = file.get_tensor("scores")
            return found
    except (OSError, SafetensorError) as error:
        raise DataError(f"the scores can't be read: {error}", where=str(folder / _FILE)) from error
