"""The promises of what brings rows and of what changes them; to be imported from `contracts.py`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from danlu.core.settings import Plugin

if TYPE_CHECKING:
    import pyarrow as pa

    from danlu.values import Context, Counts


class Source(Plugin):
    """Where rows come from. It never knows the task."""

    family: ClassVar[str] = "sources"
    asks_class: ClassVar[tuple[str, ...]] = ("fingerprint",)

    @abstractmethod
    def rows(self, split: str = "") -> Iterable[pa.RecordBatch]:
        """The rows of a named split, or all of them for `""`; raises DataError saying file and line."""

    def splits(self) -> tuple[str, ...]:
        """The splits the source itself brings; empty where it has none."""
        return ()

    def origin(self, row: int, split: str = "") -> str:
        """Where a row stands, for a person to find it: `reviews.csv, line 18`; from 0, as `rows(split)` gives them."""
        return f"row {row + 1}"

    def bytes_about(self) -> int:
        """How many bytes its rows have at least, where that is seen without reading them; else 0."""
        return 0

    def fingerprint(self) -> str | None:
        """What the rows depend on beyond the settings and the files they point at (the plan knows these).

        None: never reuse.
        """
        return ""


class Operator(Plugin):
    """Rows to rows, with counts of what it changed. It never drops or changes a row uncounted.

    Columns that it does not know stay with their row, also with a copy of it; so a row can be followed from the file to
    the batch.
    """

    family: ClassVar[str] = "operators"
    splits: ClassVar[tuple[str, ...]] = ()
    """Where it may work: empty is the whole table before it is split; augmentation says `("train",)`."""
    fills: ClassVar[bool] = False
    """Whether it gives training rows the truth that they lack: rows without one then go to train, and no other split.
    """
    changes: ClassVar[str] = "rows"
    """What it changes: `rows`, or `inputs` where a row stays what it is and asks about a text written otherwise."""
    by_row: ClassVar[bool] = False
    """Whether it treats each row alone, so that a table too large for memory may come to it in pieces."""

    small_pieces: ClassVar[bool] = False
    """Whether `sift` costs no more where the pieces are small; it then begins while the last ones are still made."""

    def where(self) -> tuple[str, ...]:
        """`splits`, or what the options make of it."""
        return self.splits

    @abstractmethod
    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        """The changed table and what was done to it."""

    def sift(self, pieces: Iterable[pa.Table], context: Context) -> Iterator[tuple[pa.Table, Counts]]:
        """`apply` for a table in pieces: for each of them, in order, what it became and its counts.

        `pieces` can be gone through more than once. An operator that compares rows with one another may write it, to
        spare the memory of the whole table; otherwise it is asked of those alone that work `by_row`.
        """
        for piece in pieces:
            yield self.apply(piece, context)

    @classmethod
    def takes_pieces(cls) -> bool:
        """Whether `sift` may be asked with more than one piece."""
        return cls.by_row or cls.sift is not Operator.sift

    def spreads(self) -> bool:
        """Whether pieces of the rows may go to several processes: ours alone, for those know where it is defined."""
        return self.by_row and type(self).sift is Operator.sift and type(self).__module__.startswith("danlu.plugins.")
