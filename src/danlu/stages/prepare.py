"""Read rows, clean them, and cut them into train, validation and test."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field, model_validator

from danlu.blocks import cut as cuts
from danlu.blocks.crew import Crew
from danlu.blocks.cut import UNKNOWN, Cut, Mask, Parts
from danlu.blocks.dataset import SPLITS, DataSet, check_labels_seen, label_counts, true_answers
from danlu.blocks.journal import ROW, Journal, numbers
from danlu.blocks.pieces import Pieces
from danlu.blocks.sifting import OWN, Sifting, said
from danlu.blocks.sniff import sniff
from danlu.blocks.splits import Keys, key_array
from danlu.blocks.tables import LIKE_MISSING, check_columns, is_text
from danlu.blocks.tracing import origin
from danlu.contracts import Answer, Columns, Files, Operator, Settings, Source, Stage, Task, labels_of, slot
from danlu.core.errors import DataError, RowError

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events


class Split(Settings):
    """How the rows are cut; the rest is trained on. A split that the source itself brings is taken as it is.

    Rows whose input is the same, but for case, width and spacing, never come into two splits, and nor do texts that are
    nearly the same (`near`).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-sum": {"of": ["validation", "test"], "below": 1},
            "x-needs": {"by": {"group": "column", "time": "column"}},
        }
    )

    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share that early stopping, thresholds and the budget of a compression look at."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share that is only measured on."""
    by: Literal["stratified", "random", "group", "time", "fold"] = "stratified"
    """`stratified` gives every label the same share in every split; a row of several labels counts for its rarest.
    `random` cuts by what a row holds, so that rows added later move none of those that were there. `group` does so by
    the value of `column`: all rows of a patient, a customer or a shop go to one split. `time` tests on the latest rows
    by `column`, and validates on those before them. `fold` tests on one of `folds` parts, for cross-validation."""
    column: str | None = None
    """The column that `group` keeps together, or that `time` sorts by (a number, a date, or text as 2026-01-31)."""
    folds: int = Field(default=5, ge=2, le=100)
    """How many parts `fold` cuts into; `test` is then not used."""
    fold: int = Field(default=1, ge=1)
    """Which of them is the test set, counted from 1."""
    near: Literal["auto"] | Annotated[float, Field(gt=0, lt=1)] | None = "auto"
    """Texts whose character shingles have at least this Jaccard index stay together, and so do those near them. `auto`
    is 0.8 where what is asked is text of at most 32 MB, cut `stratified`, `random` or by `fold`; texts of one pattern,
    which are all near one another, it cuts one by one, and says so. `null` looks for none."""
    like: Files | None = None
    """The folder of an earlier data set: its rows stay in the split they were in, only new ones are cut."""

    @property
    def smallest(self) -> float:
        """The share of the smallest split that rows are tested or validated on."""
        return min(self.validation, 1 / self.folds if self.by == "fold" else self.test)

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation:g} and test {self.test:g} leave nothing to train on")
        if self.by in ("group", "time") and not self.column:
            raise ValueError(f"`by: {self.by}` needs the column, as in `column: customer`")
        if self.fold > self.folds:
            raise ValueError(f"there is no fold {self.fold} of {self.folds}")
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
        """Write `train.parquet`, `validation.parquet`, `test.parquet`, `journal.parquet` and `dataset.json`.

        Rows that memory can't hold go through in pieces. Raises DataError for rows that can't be read, split or learnt
        from.
        """
        with TemporaryDirectory(dir=out.path) as scratch, Journal(out.path) as journal, Crew() as crew:
            sifting = Sifting(Path(scratch), journal, events, self.seed, crew)
            rows, fingerprint = sifting.read(self.source)
            at = f"{out.about['step']}.source.{self.source.name}"
            doubts = [f"{what}. If it is so: {at}.{option}" for what, option in sifting.doubts]
            settled, reasons = _settle(self.task, rows.head())
            columns = settled.columns()
            rows = sifting.operate(rows, self.operators, columns)
            doubts += _doubtful_labels(rows, settled, str(out.about["step"]))
            for text in doubts:
                events.warn(text)
            blank = cuts.blank(rows, settled) if self._fills else np.zeros(rows.num_rows, dtype=bool)
            told = _truths(rows, columns)
            told = told.filter(pa.array(~blank[: told.num_rows]))
            self.resolved(settled, told, sifting)  # says where labels are wrong, before the cut stumbles
            tables, keys = self.cut(rows, settled, sifting, blank)
            for name in reversed(SPLITS):
                if any(name in one.where() for one in self.operators):
                    held = {other: tables[other] for other in ("validation", "test") if name == "train"}
                    tables[name] = sifting.operate(tables[name], self.operators, columns, name, held)
                    keys[name] = cuts.asked(tables[name], settled)
            for name in ("validation", "test"):
                tables[name] = _with_columns(tables[name], tables["train"].schema, sifting.scratch)
            _clear(tables, keys, settled, sifting)
            task = self.resolved(settled, _truths(tables["train"], columns), sifting)
            _guard(tables, task)
            notes = sifting.notes + reasons
            info = {
                "operators": sifting.told,
                "split": self.split.model_dump(),
                "source": {**self.source.plain(), "fingerprint": fingerprint},
                "sizes": sifting.sizes,
                "notes": notes + doubts,
            }
            data = DataSet.write(out.path, task, tables, info, keys)
            labels = label_counts(tables["train"], task)
        for text in [*notes, *(text for step in sifting.told for text in said(step))]:
            events.note(text)
        out.notes += notes + doubts
        out.numbers |= {"rows_read": sum(sifting.sizes.values()), **data.info["rows"], "trained_labels": labels}

    @property
    def _fills(self) -> bool:
        return any(operator.fills for operator in self.operators)

    def resolved(self, task: Task, rows: pa.Table, sifting: Sifting) -> Task:
        """The task with all that it finds in the rows. Raises DataError that says where in the source a row stands."""
        try:
            return task.resolve(_visible(rows))
        except RowError as fault:
            number = int(numbers(rows)[fault.row - 1])
            if number < 0:
                raise
            raise DataError(fault.what, where=origin(sifting.sizes, number, self.source), do=fault.do) from fault

    def cut(self, rows: Pieces, task: Task, sifting: Sifting, blank: Mask) -> tuple[dict[str, Pieces], dict[str, Keys]]:
        """Split → rows, and the keys of their inputs. Raises DataError when there are too few of them.

        Rows that are `blank`, without a truth, go to train; one that hangs with a row that is measured on is dropped.
        """
        keys, own = cuts.asked(rows, task), None
        hangs = cuts.grouped(rows, keys, str(self.split.column)) if self.split.by == "group" else keys
        if isinstance(self.split.near, float):
            hangs = cuts.near(rows, task, hangs, self.split.near)
        elif self.split.near == "auto" and self.split.by not in ("group", "time"):
            hangs, told = cuts.near_if_few(rows, task, hangs, self.split.smallest)
            sifting.notes += told
        if OWN in rows.schema.names:
            own = _own(rows)
            again = cuts.apart(hangs, own)
            rows = sifting.keep("keep_apart", rows, ~again, task.columns().ask)
            keys, hangs, own, blank = keys[~again], hangs[~again], own[~again], blank[~again]
            if again.any():
                where = "in the source's own test or validation split too, or nearly so"
                sifting.told[-1]["notes"].append(f"{int(again.sum())} rows were {where}, and were dropped")
        parts = self.parts(rows, task, keys, hangs, own, blank)
        beside = blank & (np.isin(hangs, hangs[~blank & (parts > 0)]) | (parts > 0))
        if beside.any():
            rows = sifting.keep("keep_apart", rows, ~beside, task.columns().ask)
            sifting.told[-1]["notes"].append(f"{int(beside.sum())} rows without a truth were beside rows measured on")
            parts, keys = parts[~beside], keys[~beside]
        made = {name: Pieces(sifting.scratch) for name in SPLITS}
        place = 0
        for piece in rows:
            mine = parts[place : place + piece.num_rows]
            shown = piece.drop_columns([OWN]) if own is not None else piece
            for part, name in enumerate(SPLITS):
                made[name].add(shown.filter(pa.array(mine == part)))
            place += piece.num_rows
        rows.remove()
        return made, {name: keys[parts == part] for part, name in enumerate(SPLITS)}

    def parts(self, rows: Pieces, task: Task, keys: Keys, hangs: Keys, own: Parts | None, blank: Mask) -> Parts:
        """The split of every row, by its place in `SPLITS`; rows with one key in `hangs` go together."""
        given = set() if own is None else {SPLITS[part] for part in np.unique(own)}
        if own is not None and "train" not in given:
            what = "the source has no split to train on"
            raise DataError(what, where=self.source.name, do="name a source that has one")
        shares = {name: getattr(self.split, name) for name in ("validation", "test") if name not in given}
        if not shares:
            return own if own is not None else np.zeros(0, dtype=np.int8)
        free = ~blank if own is None else ~blank & (own == 0)
        _check_enough(int(free.sum()), shares)
        how = Cut(shares, self.split.by, self.seed, self.split.column, self.split.folds, self.split.fold)
        parts = how.parts(rows, hangs, cuts.strata(rows, task), free)
        if self.split.like is not None:
            known = cuts.kept_places(hangs, keys, _before(self.split.like, task))
            parts = np.where(known == UNKNOWN, parts, known)
        parts = parts if own is None else np.where(free, parts, own)
        for part, name in enumerate(SPLITS):
            if not (parts == part).any():
                what = f"{len(np.unique(hangs)):,} different rows are too few: no row would be in {name}"
                raise DataError(what, do="give more rows, or raise its share")
        return parts


def _with_columns(rows: Pieces, wanted: pa.Schema, scratch: Path) -> Pieces:
    """With the columns that an operator made for the training rows, empty here."""
    new = [field for field in wanted if field.name not in rows.schema.names]
    if not new:
        return rows
    made = Pieces(scratch)
    for piece in rows:
        for field in new:
            piece = piece.append_column(field, pa.nulls(piece.num_rows, field.type))
        made.add(piece)
    rows.remove()
    return made


def _clear(tables: dict[str, Pieces], keys: dict[str, Keys], task: Task, sifting: Sifting) -> None:
    """Drop the training rows that an operator made equal to a row of another split."""
    again = np.isin(keys["train"], np.concatenate([keys["validation"], keys["test"]]))
    if again.any():
        tables["train"] = sifting.keep("keep_apart on train", tables["train"], ~again, task.columns().ask)
        keys["train"] = keys["train"][~again]


def _check_enough(rows: int, shares: Mapping[str, float]) -> None:
    least = math.ceil(1 / min(*shares.values(), 1 - sum(shares.values())))
    if rows < least:
        what = f"{rows} rows are too few to split: {least} give one row to each split"
        raise DataError(what, do="give more rows; a few hundred are the least that a measurement means anything on")


def _own(rows: Pieces) -> Parts:
    names = rows.thin([OWN]).column(OWN)
    return np.asarray(pc.index_in(names, value_set=pa.array(SPLITS)).to_numpy(), dtype=np.int8)


def _before(folder: str, task: Task) -> dict[str, Keys]:
    """Split → keys of the inputs of an earlier data set."""
    data = DataSet.open(Path(folder).expanduser())
    columns = task.columns().ask
    for split in SPLITS:
        check_columns(data.table(split), columns, option="split.like")
    return {split: key_array(data.table(split), columns) for split in SPLITS}


def _visible(table: pa.Table) -> pa.Table:
    """Without the columns that are not the source's."""
    return table.drop_columns([name for name in (OWN, ROW) if name in table.column_names])


def _settle(task: Task, table: pa.Table) -> tuple[Task, list[str]]:
    """The task with its columns, and why they were chosen where they were left open."""
    rows = _visible(table)
    settled = task.settle(rows)
    columns = settled.columns()
    if lost := [name for name in (*columns.ask, *columns.gold) if name not in rows.column_names]:
        named = f"has no column {lost[0]!r}" if lost[0] else "left a column open that it must find or be told"
        what = f"the task {task.name} {named}; the columns are: {', '.join(rows.column_names)}"
        raise DataError("\n    ".join([what, *sniff(rows).reasons]), do=f"danlu show {task.name} tells how to name it")
    return settled, [] if settled == task else sniff(rows).reasons


def _doubtful_labels(rows: Pieces, task: Task, step: str) -> list[str]:
    """What to say of labels that are spelled as other programs spell a missing value."""
    gold = task.columns().gold
    if task.gives.get("answer") != "label" or not is_text(rows.schema.field(gold[0]).type):
        return []
    table = rows.thin(gold)
    counted = [(told["values"], told["counts"]) for told in pc.value_counts(table.column(gold[0])).to_pylist()]
    doubtful = {label: rows for label, rows in counted if label and label.strip().casefold() in {"", *LIKE_MISSING}}
    if not doubtful:
        return []
    told = ", ".join(f"{json.dumps(label, ensure_ascii=False)} ({rows:,} rows)" for label, rows in doubtful.items())
    mend = f"{step}.operators.drop_empty.also='{json.dumps(list(doubtful), ensure_ascii=False)}'"
    what = f"the column {gold[0]!r} has labels that look like a missing one, and each is learnt as a label: {told}"
    return [f"{what}. To drop those rows: {mend}"]


def _truths(rows: Pieces, columns: Columns) -> pa.Table:
    """What a task settles itself by: all truths, or the first rows where the truth is the input, as of texts alone."""
    return rows.head() if set(columns.gold) <= set(columns.ask) else rows.thin(columns.gold)


def _guard(tables: Mapping[str, Pieces], task: Task) -> None:
    """Raise DataError for rows without a truth, and for labels that no training row has."""
    truth, missing = task.columns().gold, Counter[str]()

    def answers(name: str) -> Iterator[tuple[Answer | None, int]]:
        for answer, count in true_answers(tables[name], task):
            missing[name] += count if answer is None else 0
            yield answer, count

    seen = [(answer, count) for answer, count in answers("train") if labels_of(answer)]  # texts would fill the memory
    for name, rows in tables.items():
        if name != "train":
            check_labels_seen(seen, answers(name), split=name)
        if missing[name]:
            what = f"{missing[name]} of {rows.num_rows} rows have no true answer in {', '.join(truth)}"
            raise DataError(what, where=f"split {name}", do="add drop_empty to the operators, or fill them in")
