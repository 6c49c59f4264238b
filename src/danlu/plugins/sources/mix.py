"""Rows of several sources, mixed by weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from danlu.contracts import Source
from danlu.core.errors import DataError, RecipeError

_ROWS = 1024


class Mix(Source):
    """Takes rows of each source at random, as many as its weight says, without repeating any; without `weights` it
    takes all rows of all sources.

    With weights the mixture is the largest that keeps their proportions: it ends with the source that has the fewest
    rows for its weight. Which rows are taken, and how sources follow one another, is a function of `seed` and of how
    many rows there are; rows of one source keep their order. An epoch of a training sees each row of the mixture once,
    the same in every epoch: to see a source's other rows, choose another seed. Columns that a source lacks are missing
    there; a column that two sources give in types that do not fit is an error.
    """

    sources: dict[str, Source] = Field(min_length=2)
    """Name → source, such as `{ours: {csv: ours.csv}, theirs: {jsonl: theirs.jsonl}}`."""
    weights: dict[str, float] = Field({})
    """Name → weight, all above 0: `{ours: 2, theirs: 1}` gives two rows of ours for each of theirs. One that is not
    named has 1; naming none takes all rows."""
    column: str = Field("source", min_length=1)
    """The column that tells the name of the source a row came from."""
    seed: int = Field(0, ge=0)
    """Another seed takes other rows, and mixes them in another order."""

    @model_validator(mode="after")
    def _weighs_what_there_is(self) -> Self:
        for name, weight in self.weights.items():
            if name not in self.sources:
                raise ValueError(f"there is a weight for {name!r}, which is none of {', '.join(self.sources)}")
            if not 0 < weight < float("inf"):
                raise ValueError(f"the weight of {name!r} is {weight:g}; leave the source out, or weigh it above 0")
        return self

    def splits(self) -> tuple[str, ...]:
        """Those that all sources bring."""
        every = [set(source.splits()) for source in self.sources.values()]
        return tuple(sorted(set.intersection(*every)))

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        if split and split not in self.splits():
            what = f"not all sources have a split {split!r}; all have: {', '.join(self.splits()) or 'none'}"
            raise RecipeError(what, do="leave the split out")
        schemas, counts = self._looked_at(split)
        schema = self._schema(schemas)
        order, taken = self._order(counts)
        takers = [
            _Taker(name, source.rows(split), mask)
            for (name, source), mask in zip(self.sources.items(), taken, strict=True)
        ]
        for start in range(0, len(order), _ROWS):
            yield self._batch(takers, order[start : start + _ROWS], schema)
        for taker in takers:
            taker.end()

    def origin(self, row: int, split: str = "") -> str:
        _, counts = self._looked_at(split)
        order, taken = self._order(counts)
        which = int(order[row])
        place = int(np.count_nonzero(order[:row] == which))
        name = list(self.sources)[which]
        return f"{name}: {self.sources[name].origin(int(np.flatnonzero(taken[which])[place]), split)}"

    def fingerprint(self) -> str | None:
        told = [source.fingerprint() for source in self.sources.values()]
        known = [one for one in told if one is not None]
        return "\n".join(known) if len(known) == len(told) else None

    def _looked_at(self, split: str) -> tuple[list[pa.Schema], list[int]]:
        """The columns of each source, and how many rows it has."""
        schemas, counts = [], []
        for name, source in self.sources.items():
            schema, count = pa.schema([]), 0
            for batch in source.rows(split):
                schema, count = batch.schema, count + batch.num_rows
            if not count:
                raise DataError("the source has no rows", where=f"mix.sources.{name}", do="leave it out")
            if self.column in schema.names:
                what = f"the source has a column {self.column!r} already"
                raise DataError(what, where=f"mix.sources.{name}", do="name another one in mix.column")
            schemas.append(schema)
            counts.append(count)
        return schemas, counts

    def _schema(self, schemas: Sequence[pa.Schema]) -> pa.Schema:
        try:
            whole = pa.unify_schemas(list(schemas), promote_options="permissive")
        except pa.ArrowException as fault:
            what = f"their columns do not fit together: {fault}"
            raise DataError(what, where=f"mix of {', '.join(self.sources)}", do="give each column one type") from fault
        return whole.append(pa.field(self.column, pa.string()))

    def _order(self, counts: Sequence[int]) -> tuple[np.ndarray[Any, Any], list[np.ndarray[Any, Any]]]:
        """For each row of the mixture the place of its source; and for each source which of its rows are taken."""
        sizes = list(counts)
        if self.weights:
            weights = [self.weights.get(name, 1.0) for name in self.sources]
            most = min(count / weight for count, weight in zip(counts, weights, strict=True))
            sizes = [min(count, max(1, round(most * weight))) for count, weight in zip(counts, weights, strict=True)]
        rng = np.random.default_rng([self.seed, *counts])
        taken = [rng.permutation(count) < size for count, size in zip(counts, sizes, strict=True)]
        return rng.permutation(np.repeat(np.arange(len(sizes)), sizes)), taken

    def _batch(self, takers: Sequence[_Taker], order: np.ndarray[Any, Any], schema: pa.Schema) -> pa.RecordBatch:
        tables = []
        for which, taker in enumerate(takers):
            rows = taker.take(int(np.count_nonzero(order == which)))
            tables.append(rows.append_column(self.column, pa.array([taker.name] * rows.num_rows, pa.string())))
        whole = pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")
        back = np.argsort(np.argsort(order, kind="stable"), kind="stable")
        return whole.select(schema.names).cast(schema).take(pa.array(back)).combine_chunks().to_batches()[0]


class _Taker:
    """Takes the chosen rows of a source, some at a time."""

    def __init__(self, name: str, batches: Any, chosen: np.ndarray[Any, Any]) -> None:
        self.name, self._batches, self._chosen = name, iter(batches), chosen
        self._seen, self._have = 0, list[pa.Table]()

    def take(self, rows: int) -> pa.Table:
        """The next chosen rows. Raises DataError where there are fewer."""
        while not self._have or sum(table.num_rows for table in self._have) < rows:
            batch = next(self._batches, None)
            if batch is None:
                raise self._changed()
            self._add(batch)
        whole = pa.concat_tables(self._have, promote_options="permissive")
        self._have = [whole.slice(rows)]
        return whole.slice(0, rows)

    def end(self) -> None:
        """Read to the end, which is where a source says that it was changed while it was read."""
        for batch in self._batches:
            self._add(batch)
        if self._seen != len(self._chosen):
            raise self._changed()

    def _add(self, batch: pa.RecordBatch) -> None:
        mine = self._chosen[self._seen : self._seen + batch.num_rows]
        self._seen += batch.num_rows
        if len(mine) < batch.num_rows:
            raise self._changed()
        self._have.append(pa.Table.from_batches([batch]).filter(pa.array(mine)))

    def _changed(self) -> DataError:
        where = f"mix.sources.{self.name}"
        return DataError("it gave another number of rows when it was read again", where=where, do="try again later")
