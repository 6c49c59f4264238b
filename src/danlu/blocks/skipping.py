"""What to do about a row that can't be read: stop, or skip it, counted and told, up to a share of all rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, TypeAlias

import pyarrow as pa

from danlu.blocks.delimited import NOTES
from danlu.core.errors import DataError

OnError: TypeAlias = Literal["stop", "skip"]
_FEW = 5


class Skipping:
    """Counts the faults of one reading. `skipped` are the keys of the rows that were left out."""

    def __init__(self, on_error: OnError, most: float) -> None:
        self._on_error, self._most = on_error, most
        self._first: list[DataError] = []
        self.skipped: set[Hashable] = set()

    @property
    def skips(self) -> bool:
        """Whether a faulty row is skipped."""
        return self._on_error == "skip"

    def fault(self, fault: DataError, key: Hashable) -> None:
        """A row can't be read, for this reason; raises the fault where reading stops at the first."""
        if not self.skips:
            raise fault
        self.skipped.add(key)
        if len(self._first) < _FEW:
            self._first.append(fault)

    def settle(self, rows: int) -> list[str]:
        """What to tell of the rows skipped, given how many were read.

        Raises DataError when they are more than their share allows, and when no other row is there.
        """
        if not self.skipped:
            return []
        count, total = len(self.skipped), rows + len(self.skipped)
        if not rows:
            first, what = self._first[0], "the only row" if count == 1 else f"every one of {count:,} rows"
            raise DataError(f"{what} was refused; the first: {first.what}", where=first.where, do="mend the rows")
        told = f"{count:,} of {total:,} rows can't be read"
        if count > self._most * total:
            first = self._first[0]
            what = f"{told}, and at most {self._most:.2%} may be skipped; the first: {first.what}"
            raise DataError(what, where=first.where, do=f"mend them, or `most_skipped: {count / total + 5e-5:.4f}`")
        shown = [f"  {fault.where}: {fault.what}" for fault in self._first]
        more = [f"  and {count - len(shown):,} more"] if count > len(shown) else []
        return [f"{told}, and were skipped:", *shown, *more]


def with_notes(schema: pa.Schema, notes: Sequence[str]) -> pa.Schema:
    """The schema with what was guessed or skipped while reading, to be shown to the user."""
    metadata = dict(schema.metadata or {})
    before = metadata.get(NOTES, b"").decode().splitlines()
    metadata[NOTES] = "\n".join(dict.fromkeys([*before, *notes])).encode()
    return schema.with_metadata(metadata) if notes else schema
