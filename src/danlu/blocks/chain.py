"""Operators that treat each row alone, one after another, on a piece of the rows: here or in a process beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from danlu.blocks.journal import compared
from danlu.contracts import Context, Counts, Operator

PIECE = 1 << 21
"""Bytes of a piece about."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What became of a piece."""

    rows: pa.Table
    counts: list[Counts]
    """Of each operator; those after one that left no row have none."""
    entries: pa.Table
    """For the journal."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Operators in their order, each with the name it is told by."""

    operators: Sequence[Operator]
    names: Sequence[str]
    context: Context

    def work(self, rows: pa.Table) -> Worked:
        """Raises what an operator raises, and DataError where one counted wrongly."""
        told, entries = list[Counts](), list[pa.Table]()
        for name, operator in zip(self.names, self.operators, strict=True):
            before = rows
            rows, counts = operator.apply(before, self.context)
            entries.append(compared(name, before, rows, counts))
            counts.why = {}  # the journal has it
            told.append(counts)
            if before.num_rows and not rows.num_rows:
                break
        return Worked(rows, told, pa.concat_tables(entries))


def chains(operators: Sequence[Operator]) -> Iterator[tuple[bool, list[Operator]]]:
    """The operators cut where one follows that does not go with those before; whether pieces of rows go to all."""
    for spread, group in groupby(operators, lambda one: one.spreads()):
        ones = list(group)
        yield from [(True, ones)] if spread else [(False, [one]) for one in ones]


def cut(rows: pa.Table) -> Iterator[pa.Table]:
    """Pieces of a table, alike in their number of rows."""
    pieces = max(1, round(rows.nbytes / PIECE))
    size = max(1, -(-rows.num_rows // pieces))
    for first in range(0, max(1, rows.num_rows), size):
        yield rows.slice(first, size)
