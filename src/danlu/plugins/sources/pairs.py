"""Rows of two texts that belong together, and what they are told apart from: pairs that do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks.tables import check_columns
from danlu.contracts import Source
from danlu.core.errors import DataError


class Pairs(Source):
    """Takes the pairs of another source, question and answer for one, and puts other rows' second texts beside them.

    The rule: what is drawn as not belonging to a first text is the second text of another row, never one that stands
    beside the same first text anywhere. Some of what is drawn would do as well, which no rule can know; the draw is a
    function of `seed` and the rows. All rows are held in memory.
    """

    source: Source
    """Where the pairs come from."""
    text: str
    """The column of the first texts."""
    text_pair: str
    """The column of the second texts."""
    where: dict[str, str | int] = Field({})
    """Column → the value that a row must have there to be taken, such as `{language: english}`."""
    make: Literal["pairs", "labels", "rankings", "preferences"] = "labels"
    """`labels`: every pair under the label `yes`, and so many `others` of the same first text under `no`. `rankings`: a
    row for every first text, with `passages`, all that belong to it and so many `others`, in an order drawn at random,
    and `relevance`, 1 or 0 for each. `preferences`: a row for every pair with `chosen`, its second text, and another
    row's, `rejected`. `pairs`: the pairs alone."""
    others: int = Field(default=1, ge=1, le=1000)
    """How many second texts of other rows are drawn for a pair, or in a ranking for a first text."""
    seed: int = Field(0, ge=0)
    """Another seed draws others."""

    def splits(self) -> tuple[str, ...]:
        return self.source.splits()

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        table = self._taken(split)
        if self.make == "pairs":
            yield from table.to_batches()
            return
        firsts, seconds = table.column(self.text).to_pylist(), table.column(self.text_pair).to_pylist()
        rng = np.random.default_rng([self.seed, len(firsts)])
        drawn = _Others(firsts, seconds, rng)
        if self.make == "labels":
            rows = [
                {self.text: first, self.text_pair: one, "label": label}
                for first, second in zip(firsts, seconds, strict=True)
                for one, label in ((second, "yes"), *((other, "no") for other in drawn.some(first, self.others)))
            ]
        elif self.make == "preferences":
            rows = [
                {self.text: first, "chosen": second, "rejected": drawn.some(first, 1)[0]}
                for first, second in zip(firsts, seconds, strict=True)
            ]
        else:
            rows = [self._ranking(first, drawn, rng) for first in drawn.known]
        yield from pa.Table.from_pylist(rows).to_batches()

    def fingerprint(self) -> str | None:
        return self.source.fingerprint()

    def _taken(self, split: str) -> pa.Table:
        table = pa.Table.from_batches(list(self.source.rows(split)))
        check_columns(table, [self.text, self.text_pair, *self.where], option="source.pairs")
        for column, value in self.where.items():
            table = table.filter(pa.array([cell == value for cell in table.column(column).to_pylist()], pa.bool_()))
        if not table.num_rows:
            raise DataError(f"no row is left where {self.where}", do="change source.pairs.where")
        return table

    def _ranking(self, first: str, drawn: _Others, rng: np.random.Generator) -> dict[str, Any]:
        mine, others = list(drawn.known[first]), drawn.some(first, self.others)
        order = rng.permutation(len(mine) + len(others))
        passages, relevance = [*mine, *others], [1] * len(mine) + [0] * len(others)
        return {
            self.text: first,
            "passages": [passages[k] for k in order],
            "relevance": [relevance[k] for k in order],
        }


class _Others:
    """Draws second texts that stand nowhere beside a first one."""

    def __init__(self, firsts: Sequence[str], seconds: Sequence[str], rng: np.random.Generator) -> None:
        self.known: dict[str, dict[str, None]] = {}
        for first, second in zip(firsts, seconds, strict=True):
            self.known.setdefault(first, {})[second] = None
        self._all, self._rng = list(dict.fromkeys(seconds)), rng

    def some(self, first: str, count: int) -> list[str]:
        """So many different ones. Raises DataError where there are not enough."""
        mine = self.known[first]
        if len(self._all) - len(mine) < count:
            what = f"there are not {count} second texts that do not belong to {first[:60]!r}"
            raise DataError(what, do="lower source.pairs.others, or give more rows")
        found: dict[str, None] = {}
        while len(found) < count:
            one = self._all[int(self._rng.integers(len(self._all)))]
            if one not in mine:
                found[one] = None
        return list(found)
