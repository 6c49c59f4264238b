"""The `dataset` artifact: three Parquet files and `dataset.json`, which says what they are and what was done to them.

A split's digest is over the columns that the task reads. It is written down when the split is made, so a row that was
changed, added or moved to another split afterwards is found before anything is measured on it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from danlu.blocks.splits import row_keys
from danlu.contracts import Task, iterate_rows, labels_of
from danlu.core.errors import DataError
from danlu.core.files import sha256_bytes

SPLITS = ("train", "validation", "test")
INFO = "dataset.json"
_REMAKE = "run the prepare step again with `danlu run`; it makes a new dataset"


@dataclass(frozen=True)
class DataSet:
    """Rows in three splits, and the task they are for, with its columns and labels resolved."""

    folder: Path
    task: Task
    info: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The data set in a folder. Raises DataError when it is not one."""
        try:
            info = json.loads((folder / INFO).read_text(encoding="utf-8"))
            return cls(folder, Task.choose(info["task"]), info)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"this is not a data set: {error}", where=str(folder / INFO), do=_REMAKE) from error

    @classmethod
    def write(cls, folder: Path, task: Task, tables: Mapping[str, pa.Table], info: Mapping[str, Any]) -> Self:
        """Write the splits and what is known of them; `info` gains `task`, `rows` and `digests`.

        Raises DataError when an input is in two splits.
        """
        for split in SPLITS:
            pq.write_table(tables[split], folder / f"{split}.parquet", compression="zstd")
        digests = {split: split_digest(tables[split], task) for split in SPLITS}
        rows = {split: tables[split].num_rows for split in SPLITS}
        whole = {"task": task.plain(), "rows": rows, "digests": digests, **info}
        made = cls(folder, task, whole)
        made.check_leaks()
        text = json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        (folder / INFO).write_text(text, encoding="utf-8")
        return made

    def table(self, split: str) -> pa.Table:
        """The rows of a split, in their frozen order."""
        if split not in SPLITS:
            raise DataError(f"there is no split {split!r}", where=str(self.folder), do=f"one of {', '.join(SPLITS)}")
        path = self.folder / f"{split}.parquet"
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"it can't be read: {error}", where=str(path), do=_REMAKE) from error

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rows of a split as dicts."""
        return list(iterate_rows(self.table(split)))

    def judged(self, split: str) -> tuple[list[Any], list[Any]]:
        """The inputs of a split and their true answers. Raises DataError when a row has none."""
        rows = self.rows(split)
        gold = [self.task.gold(row) for row in rows]
        missing = sum(answer is None for answer in gold)
        if missing:
            raise DataError(f"{missing} of {len(rows)} rows have no true answer", where=f"split {split}", do=_REMAKE)
        return [self.task.ask(row) for row in rows], gold

    def check(self) -> None:
        """Raise DataError when a split is not what was frozen, or when an input is in two splits."""
        for split in SPLITS:
            found = split_digest(self.table(split), self.task)
            if found != self.info["digests"].get(split):
                raise DataError("its rows are not those that were frozen", where=f"split {split}", do=_REMAKE)
        self.check_leaks()

    def check_leaks(self) -> None:
        """Raise DataError when the same input is in two splits: a model would be measured on what it learnt."""
        asked = {split: set(row_keys(self.table(split), self.task.columns().ask)) for split in SPLITS}
        for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
            shared = len(asked[one] & asked[other])
            if shared:
                what = f"{shared} inputs are both in {one} and in {other}"
                raise DataError(what, where=str(self.folder), do="add drop_duplicates to the operators")


def split_digest(table: pa.Table, task: Task) -> str:
    """SHA-256 of the sorted row digests: the same for the same rows in any order."""
    columns = task.columns()
    names = list(dict.fromkeys((*columns.ask, *columns.gold)))
    return sha256_bytes(b"".join(sorted(row_keys(table, names, exact=True))))


def label_counts(table: pa.Table, task: Task) -> dict[str, int]:
    """True label → rows, one without any under the empty name; empty where the task's answers are no labels."""
    if task.gives.get("answer") not in ("label", "labels"):
        return {}
    counts: Counter[str] = Counter()
    for row in iterate_rows(table.select(list(dict.fromkeys(task.columns().gold)))):
        counts.update(labels_of(task.gold(row)) or ("",))
    return dict(sorted(counts.items()))
