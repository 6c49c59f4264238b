"""Read rows, clean them, and cut them into train, validation and test."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field, model_validator

from danlu.blocks import splits
from danlu.blocks.dataset import SPLITS, DataSet, label_counts
from danlu.blocks.delimited import DOUBTS, NOTES
from danlu.blocks.sniff import sniff
from danlu.blocks.tables import is_text, shown_rows
from danlu.contracts import Context, Counts, Operator, Settings, Source, Stage, Task, iterate_rows, labels_of, slot
from danlu.core.errors import DataError
from danlu.core.files import sha256_bytes
from danlu.training.guards import check_labels_seen

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events

_FROZEN_FIRST = ("test", "validation", "train")
"""The order in which a source's own splits are cleaned: of equal inputs the first stays, so no test row goes."""
_OWN = "__split__"
_LIKE_MISSING = {"", "nan", "none", "null", "nil", "n/a", "na", "#n/a", "<na>"}
"""How spreadsheets, databases and data frames write a missing value, in lower case."""


class Split(Settings):
    """How the rows are cut; the rest is trained on. A split that the source itself brings is taken as it is."""

    model_config = ConfigDict(json_schema_extra={"x-total-below": 1})

    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share that early stopping, thresholds and the budget of a compression look at."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share that is only measured on."""
    by: Literal["stratified", "random"] = "stratified"
    """`stratified` gives every label the same share in every split; a row of several labels counts for its rarest.
    `random` cuts by what a row holds, so that rows added later move none of those that were there."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation:g} and test {self.test:g} leave nothing to train on")
        return self


class Prepare(Stage):
    """From a source to a frozen data set.

    The same input never lies in two splits, every operator's drops and changes are counted, and the test set is frozen
    by the digests of its rows.
    """

    makes: ClassVar[str] = "dataset"

    source: Source
    """Where the rows come from."""
    task: Task
    """What is to be learnt; columns and labels that it leaves open are found in the rows."""
    operators: tuple[Operator, ...] = slot(("normalize", "drop_empty", "drop_duplicates"))
    """What is done to the rows, in this order."""
    split: Split = Split()
    """How the rows are cut."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `train.parquet`, `validation.parquet`, `test.parquet` and `dataset.json`.

        Raises DataError for rows that can't be read, split or learnt from.
        """
        whole = self.read(events)
        doubts = _misread(whole, f"{out.about['step']}.source.{self.source.name}")
        for text in doubts:
            events.warn(text)
        raw = splits.row_keys(whole, whole.column_names, exact=True)
        settled, reasons = _settle(self.task, whole)
        notes = _of_reading(whole) + reasons
        told: list[dict[str, Any]] = []
        whole = self.operate(whole, settled, "", told, events)
        for text in (doubtful := _doubtful_labels(whole, settled, str(out.about["step"]))):
            events.warn(text)
        doubts += doubtful
        settled.resolve(whole)  # raises where the labels themselves are wrong, before the cut stumbles over them
        tables = self.cut(whole, settled, told)
        for name in SPLITS:
            tables[name] = self.operate(tables[name], settled, name, told, events)
        task = settled.resolve(tables["train"])
        _guard(tables, task)
        info = {
            "operators": told,
            "split": self.split.model_dump(),
            "source": {**self.source.plain(), "fingerprint": _rows_digest(raw)},
            "notes": notes + doubts,
        }
        data = DataSet.write(out.path, task, tables, info)
        for text in [*notes, *(text for step in told for text in _said(step))]:
            events.note(text)
        out.notes += notes + doubts
        out.numbers |= {
            "rows_read": len(raw),
            **data.info["rows"],
            "trained_labels": label_counts(tables["train"], task),
        }

    def read(self, events: Events) -> pa.Table:
        """All rows; where the source has splits of its own, a last column says which one a row is in."""
        own = [name for name in _FROZEN_FIRST if name in self.source.splits()]
        parts, done = [], 0
        for name in own or [""]:
            for batch in self.source.rows(name):
                part = pa.Table.from_batches([batch])
                parts.append(part.append_column(_OWN, pa.array([name] * part.num_rows, pa.string())) if own else part)
                done += batch.num_rows
                events.progress("reading", done, None, "rows")
        events.progress("reading", done, done, "rows")
        if not done:
            raise DataError("the source has no rows", where=self.source.name, do="name a source that has some")
        return pa.concat_tables(parts, promote_options="default").combine_chunks()

    def operate(self, table: pa.Table, task: Task, split: str, told: list[dict[str, Any]], events: Events) -> pa.Table:
        """The table after the operators that work on `split` (empty: on all rows, before the cut)."""
        mine = [one for one in self.operators if (split in one.splits if split else not one.splits)]
        for done, operator in enumerate(mine):
            events.progress("cleaning", done, len(mine), "operators", operator=operator.name)
            table, counts = operator.apply(table, Context(task.columns(), split, self.seed))
            told.append(_told(f"{operator.name} on {split}" if split else operator.name, counts))
        if mine:
            events.progress("cleaning", len(mine), len(mine), "operators")
        return table

    def cut(self, table: pa.Table, task: Task, told: list[dict[str, Any]]) -> dict[str, pa.Table]:
        """Split → rows. Raises DataError when there are too few of them."""
        if _OWN not in table.column_names:
            return self.cut_by_shares(table, task, {"validation": self.split.validation, "test": self.split.test})
        table, counts = _apart(table, task)
        told.append(_told("keep_apart", counts))
        names = np.array(table.column(_OWN).to_pylist(), dtype=object)
        rows = table.drop_columns([_OWN])
        own = {name: rows.filter(pa.array(names == name)) for name in SPLITS if (names == name).any()}
        if "train" not in own:
            raise DataError(
                "the source has no split to train on", where=self.source.name, do="name a source that has one"
            )
        missing = {name: getattr(self.split, name) for name in ("validation", "test") if name not in own}
        return own | (self.cut_by_shares(own["train"], task, missing) if missing else {})

    def cut_by_shares(self, table: pa.Table, task: Task, shares: Mapping[str, float]) -> dict[str, pa.Table]:
        """The splits that have a share, and train."""
        least = math.ceil(1 / min(*shares.values(), 1 - sum(shares.values())))
        if table.num_rows < least:
            what = f"{table.num_rows} rows are too few to split: {least} give one row to each split"
            raise DataError(what, do="give more rows; a few hundred are the least that a measurement means anything on")
        columns = task.columns()
        strata = _strata(table, task) if self.split.by == "stratified" else None
        amounts = {"validation": 0.0, "test": 0.0} | dict(shares)
        cut = splits.split(table, columns.ask, seed=self.seed, stratify=strata, **amounts)
        return {name: table.take(pa.array(cut.rows[name])) for name in ("train", *shares)}


def _strata(table: pa.Table, task: Task) -> list[Any] | None:
    """What a row counts for in a stratified cut: its label, or the rarest of several; None where there is no label."""
    truth = task.columns().gold
    match task.gives.get("answer"):
        case "label":
            return splits.row_keys(table, truth, exact=True)
        case "labels":
            return splits.rarest([labels_of(task.gold(row)) for row in iterate_rows(table.select(truth))])
    return None


def _rows_digest(keys: list[bytes]) -> str:
    """One digest for all rows that were read, in any order."""
    return sha256_bytes(b"".join(sorted(keys)))


def _settle(task: Task, table: pa.Table) -> tuple[Task, list[str]]:
    """The task with its columns, and why they were chosen where they were left open."""
    rows = table.drop_columns([_OWN]) if _OWN in table.column_names else table
    settled = task.settle(rows)
    columns = settled.columns()
    if lost := [name for name in (*columns.ask, *columns.gold) if name not in rows.column_names]:
        named = f"has no column {lost[0]!r}" if lost[0] else "left a column open that it must find or be told"
        what = f"the task {task.name} {named}; the columns are: {', '.join(rows.column_names)}"
        raise DataError("\n    ".join([what, *sniff(rows).reasons]), do=f"danlu show {task.name} tells how to name it")
    return settled, [] if settled == task else sniff(rows).reasons


def _of_reading(table: pa.Table) -> list[str]:
    """What a reader guessed, such as the encoding."""
    told: bytes = (table.schema.metadata or {}).get(NOTES, b"")
    return told.decode().splitlines()


def _misread(table: pa.Table, source: str) -> list[str]:
    """What was probably misread, and the override that mends it."""
    told: bytes = (table.schema.metadata or {}).get(DOUBTS, b"")
    pairs = [line.split("\t") for line in told.decode().splitlines()]
    return [f"{what}. If it is so: {source}.{option}" for what, option in pairs]


def _doubtful_labels(table: pa.Table, task: Task, step: str) -> list[str]:
    """What to say of labels that are spelled as other programs spell a missing value."""
    gold = task.columns().gold
    if task.gives.get("answer") != "label" or not is_text(table.schema.field(gold[0]).type):
        return []
    counted = [(told["values"], told["counts"]) for told in pc.value_counts(table.column(gold[0])).to_pylist()]
    doubtful = {label: rows for label, rows in counted if label and label.strip().casefold() in _LIKE_MISSING}
    if not doubtful:
        return []
    told = ", ".join(f"{json.dumps(label, ensure_ascii=False)} ({rows:,} rows)" for label, rows in doubtful.items())
    mend = f"{step}.operators.drop_empty.also='{json.dumps(list(doubtful), ensure_ascii=False)}'"
    what = f"the column {gold[0]!r} has labels that look like a missing one, and each is learnt as a label: {told}"
    return [f"{what}. To drop those rows: {mend}"]


def _told(name: str, counts: Counts) -> dict[str, Any]:
    told = {
        "name": name,
        "rows_in": counts.rows_in,
        "rows_out": counts.rows_out,
        "changed": counts.changed,
        "by": counts.by,
        "samples": counts.samples,
        "notes": counts.notes,
    }
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))
    return plain


def _said(step: Mapping[str, Any]) -> list[str]:
    dropped = step["rows_in"] - step["rows_out"]
    done = [f"dropped {dropped:,} of {step['rows_in']:,} rows"] if dropped else []
    done += [f"changed {step['changed']:,}"] if step["changed"] else []
    return [f"{step['name']}: {text}" for text in [*([", ".join(done)] if done else []), *step["notes"]]]


def _apart(table: pa.Table, task: Task) -> tuple[pa.Table, Counts]:
    """Without the rows whose input is in a split before theirs; rows come in the order of `_FROZEN_FIRST`."""
    columns = task.columns().ask
    split_of: dict[bytes, str] = {}
    names, keys = table.column(_OWN).to_pylist(), splits.row_keys(table, columns)
    again = np.array([split_of.setdefault(k, name) != name for k, name in zip(keys, names, strict=True)], dtype=bool)
    kept = table.filter(pa.array(~again))
    counts = Counts(table.num_rows, kept.num_rows)
    counts.samples = [(row, None) for row in shown_rows(table, np.flatnonzero(again), columns)]
    if again.any():
        counts.notes.append(
            f"{int(again.sum())} rows were in the source's own test or validation split too, and were dropped"
        )
    return kept, counts


def _guard(tables: Mapping[str, pa.Table], task: Task) -> None:
    """Raise DataError for rows without a truth, and for labels that no training row has."""
    truth = list(task.columns().gold)
    gold = {name: [task.gold(row) for row in iterate_rows(table.select(truth))] for name, table in tables.items()}
    for name, answers in gold.items():
        if missing := sum(answer is None for answer in answers):
            what = f"{missing} of {len(answers)} rows have no true answer in {', '.join(truth)}"
            raise DataError(what, where=f"split {name}", do="add drop_empty to the operators, or fill them in")
        check_labels_seen(gold["train"], answers, split=name)
