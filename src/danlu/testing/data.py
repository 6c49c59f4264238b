"""What sources and operators promise: the same rows every time, and nothing dropped or changed uncounted."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from danlu.contracts import Context, Counts, Operator, Source
from danlu.core.errors import DataError, Fault
from danlu.core.resolve import resolve
from danlu.testing.general import refused
from danlu.testing.partners import sample_table, task_for
from danlu.testing.subject import ConformanceError, Subject, check, require

_DIRT = ("  two  spaces ", "ｆｕｌｌ ｗｉｄｔｈ", "a\x00control\x07character", "", "   ", "emoji 👩‍🍳", "é as two")
_MOST_SAMPLES = 10

# ---- sources ---------------------------------------------------------------------------------------------------------


@check("sources")
def check_rows_are_the_same_every_time(subject: Subject) -> None:
    """Reading twice gives the same rows under one schema, and there are some."""
    once, again = _read(subject.plugin), _read(subject.plugin)
    require(once.schema.equals(again.schema), f"the schema is another the second time: {again.schema}")
    require(once.equals(again), "the rows are others the second time; draw what is random from the option `seed`")
    require(once.num_rows > 0, "it has no rows")


@check("sources")
def check_every_split_has_the_same_columns(subject: Subject) -> None:
    """Each split that it declares has rows, under the schema of all rows."""
    whole = _read(subject.plugin).schema
    for split in subject.plugin.splits():
        rows = _read(subject.plugin, split)
        require(rows.num_rows > 0, f"its split {split!r} has no rows")
        require(rows.schema.equals(whole), f"its split {split!r} has another schema: {rows.schema}")


@check("sources")
def check_an_unknown_split_is_refused(subject: Subject) -> None:
    """A split that it does not have is an error that says so, never rows of another one."""
    refused(lambda: _read(subject.plugin, "no-such-split"), "a split that it does not have")


@check("sources")
def check_a_changed_file_is_noticed(subject: Subject) -> None:
    """One byte more in a file that it reads changes its identity in a reuse key; the file's place does not."""
    source = subject.plugin
    first = _identity(source)
    require(_identity(source) == first, "its fingerprint is another the second time; None would say: never reuse")
    for name in type(source).model_fields:
        value = getattr(source, name)
        if not isinstance(value, str) or not Path(value).expanduser().is_file():
            continue
        copy = subject.new("copies") / Path(value).name
        copy.parent.mkdir()
        shutil.copyfile(Path(value).expanduser(), copy)
        moved = source.model_copy(update={name: str(copy)})
        before = _identity(moved)
        copy.write_bytes(copy.read_bytes() + b"\n")
        require(_identity(moved) != before, f"a change of the file {name} is not noticed: annotate it as `Files`")
        require(before == first, f"moving the file {name} changes the identity: annotate it as `Files`")


def _read(source: Source, split: str = "") -> pa.Table:
    return pa.Table.from_batches(list(source.rows(split)))


def _identity(source: Source) -> Any:
    faults: list[Fault] = []
    choice = resolve("sources", source.plain(), source.name, faults)
    if choice is None or faults:
        raise ConformanceError(f"a recipe cannot name it: {'; '.join(map(str, faults))}")
    return choice.identity()


# ---- operators -------------------------------------------------------------------------------------------------------


@check("operators")
def check_counts_add_up(subject: Subject) -> None:
    """Rows in and out are counted, each changed row is, and some of what was changed or dropped is shown."""
    before, after, counts = _operate(subject)
    require(counts.rows_in == before.num_rows, f"rows_in is {counts.rows_in}, the table had {before.num_rows}")
    require(counts.rows_out == after.num_rows, f"rows_out is {counts.rows_out}, the table has {after.num_rows}")
    strange = sum((Counter(map(repr, after.to_pylist())) - Counter(map(repr, before.to_pylist()))).values())
    require(strange <= counts.changed, f"{strange} rows are new or changed, {counts.changed} are counted")
    if before.num_rows == after.num_rows:
        pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
        found = sum(repr(old) != repr(new) for old, new in pairs)
        require(found == counts.changed, f"{found} rows differ, {counts.changed} are counted")
    dropped = counts.rows_in - counts.rows_out
    require(len(counts.samples) <= _MOST_SAMPLES, f"it shows {len(counts.samples)} samples, ten are enough")
    shown = bool(counts.samples) or not (dropped > 0 or counts.changed)
    require(shown, f"it dropped {dropped} and changed {counts.changed} rows, and shows none of them")


@check("operators")
def check_an_operator_does_the_same_every_time(subject: Subject) -> None:
    """The same table and seed give the same table; what is random is drawn from the seed of the context."""
    _, once, _ = _operate(subject)
    _, again, _ = _operate(subject)
    require(once.equals(again), "the same table comes out differently the second time")


@check("operators")
def check_no_column_is_lost(subject: Subject) -> None:
    """Columns keep their names, order and types; new ones may come after them."""
    before, after, _ = _operate(subject)
    kept = after.select(range(min(before.num_columns, after.num_columns))).schema
    require(kept.equals(before.schema), f"the columns were {before.schema.names}, and are {after.schema.names}")


@check("operators")
def check_an_empty_table_is_no_accident(subject: Subject) -> None:
    """A table without rows comes out without rows, or is refused with a DataError."""
    table, context = _dirty(subject)
    try:
        after, counts = subject.plugin.apply(table.slice(0, 0), context)
    except DataError:
        return
    except Exception as error:
        raise ConformanceError(f"a table without rows raises {type(error).__name__}: {error}") from error
    require((after.num_rows, counts.rows_in, counts.rows_out) == (0, 0, 0), "rows come out of a table without rows")


def _operate(subject: Subject) -> tuple[pa.Table, pa.Table, Counts]:
    table, context = _dirty(subject)
    operator: Operator = subject.plugin
    after, counts = operator.apply(table, context)
    return table, after, counts


def _dirty(subject: Subject) -> tuple[pa.Table, Context]:
    """The sample of a task that it fits, with duplicates, and for text with what is found in real columns."""
    task = task_for(subject)
    table = sample_table(task, 12)
    task = task.resolve(table)
    columns = task.columns()
    rows = table.to_pylist()
    rows += rows[:3]
    for k, dirt in enumerate(_DIRT):
        row = rows[k % 12] | {name: dirt for name in columns.ask if isinstance(rows[0][name], str)}
        rows.append(row)
    split = next(iter(subject.plugin.where()), "")
    return pa.Table.from_pylist(rows, schema=table.schema), Context(columns, split, seed=3)
