"""The `dataset` artifact: three Parquet files and `dataset.json`, which says what they are and what was done to them.

A split's digest is over the columns that the task reads. It is written down when the split is made, so a row that was
changed, added or moved to another split afterwards is found before anything is measured on it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from danlu.blocks.journal import ROW
from danlu.blocks.splits import Keys, key_array
from danlu.contracts import Answer, Task, iterate_rows, labels_of
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
    def write(
        cls,
        folder: Path,
        task: Task,
        tables: Mapping[str, Iterable[pa.Table]],
        info: Mapping[str, Any],
        keys: Mapping[str, Keys],
    ) -> Self:
        """Write the splits, each in pieces, and what is known of them; `info` gains `task rows digests digest`.

        `keys` are those of the rows' inputs. Raises DataError when an input is in two splits.
        """
        digests = {split: _written(folder / f"{split}.parquet", tables[split], task) for split in SPLITS}
        rows = {split: len(keys[split]) for split in SPLITS}
        whole = {"task": task.plain(), "rows": rows, "digests": digests, "digest": sha256_bytes(
            "".join(digests.values()).encode()
        ), **info}  # fmt: skip
        made = cls(folder, task, whole)
        _refuse_shared(keys, folder)
        text = json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        (folder / INFO).write_text(text, encoding="utf-8")
        return made

    def table(self, split: str) -> pa.Table:
        """The rows of a split, in their frozen order."""
        table = self.numbered(split)
        return table.drop_columns([ROW]) if ROW in table.column_names else table

    def numbered(self, split: str) -> pa.Table:
        """`table` with the column `ROW`: which row of the source each one was."""
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

    def each(self, split: str) -> Iterator[dict[str, Any]]:
        """The rows of a split as dicts, one after another: what they hold need not fit into memory."""
        path = self.folder / f"{split}.parquet"
        try:
            with pq.ParquetFile(path) as file:
                columns = [name for name in file.schema_arrow.names if name != ROW]
                for batch in file.iter_batches(columns=columns):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"it can't be read: {error}", where=str(path), do=_REMAKE) from error

    def size(self, split: str) -> int:
        """Bytes of a split's rows about, before they were packed."""
        path = self.folder / f"{split}.parquet"
        try:
            with pq.ParquetFile(path) as file:
                return sum(file.metadata.row_group(place).total_byte_size for place in range(file.num_row_groups))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"it can't be read: {error}", where=str(path), do=_REMAKE) from error

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
        asked = {split: key_array(self.table(split), self.task.columns().ask) for split in SPLITS}
        _refuse_shared(asked, self.folder)


def _refuse_shared(asked: Mapping[str, Keys], folder: Path) -> None:
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        shared = len(np.intersect1d(asked[one], asked[other]))
        if shared:
            what = f"{shared} inputs are both in {one} and in {other}"
            raise DataError(what, where=str(folder), do="add drop_duplicates to the operators")


def _written(path: Path, pieces: Iterable[pa.Table], task: Task) -> str:
    """Write a split's rows; its digest."""
    whole, writer = [], None
    try:
        for piece in pieces:
            writer = writer or pq.ParquetWriter(path, piece.schema, compression="zstd")
            writer.write_table(piece)
            whole.append(_digests(piece, task))
    finally:
        if writer is not None:
            writer.close()
    return _digest(np.concatenate(whole))


def _digests(table: pa.Table, task: Task) -> Keys:
    columns = task.columns()
    return key_array(table, list(dict.fromkeys((*columns.ask, *columns.gold))), exact=True)


def _digest(rows: Keys) -> str:
    return sha256_bytes(np.sort(rows).tobytes())


def split_digest(table: pa.Table, task: Task) -> str:
    """SHA-256 of the sorted row digests: the same for the same rows in any order."""
    return _digest(_digests(table, task))


def true_answers(pieces: Iterable[pa.Table], task: Task) -> Iterator[tuple[Answer | None, int]]:
    """What is true of rows, each different truth once in a piece, with the number of its rows."""
    columns = list(dict.fromkeys(task.columns().gold))
    for piece in pieces:
        truth = piece.select(columns)
        if any(pa.types.is_nested(field.type) for field in truth.schema):  # Arrow groups by plain values alone
            yield from ((task.gold(row), 1) for row in iterate_rows(truth))
            continue
        counted = truth.group_by(columns, use_threads=False).aggregate([([], "count_all")])
        for row in iterate_rows(counted):
            yield task.gold(row), row["count_all"]


def label_counts(pieces: Iterable[pa.Table], task: Task) -> dict[str, int]:
    """True label → rows, one without any under the empty name; empty where the task's answers are no labels."""
    if task.gives.get("answer") not in ("label", "labels"):
        return {}
    counts: Counter[str] = Counter()
    for answer, rows in true_answers(pieces, task):
        for label in labels_of(answer) or ("",):
            counts[label] += rows
    return dict(sorted(counts.items()))


Counted: TypeAlias = Iterable[tuple[Answer | None, int]]


def check_labels_seen(seen: Counted, others: Counted, *, split: str) -> None:
    """Raise DataError when true answers of `split` name a label that no training row has.

    Both are what `Task.gold` gives, with how many rows it is true of; answers without labels (a text, a number) pass.
    """
    known = {label for answer, _ in seen for label in labels_of(answer)}
    unseen: Counter[str] = Counter()
    for answer, rows in others:
        unseen.update({label: rows for label in labels_of(answer) if label not in known})
    if unseen:
        first = ", ".join(f"{label!r} ({rows} rows)" for label, rows in unseen.most_common(5))
        what = f"{len(unseen)} labels of the {split} set are in no training row, so they can't be right: {first}"
        raise DataError(what, where=split, do="add training rows with them, remove their rows, or split stratified")
