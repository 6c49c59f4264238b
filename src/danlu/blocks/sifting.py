"""Rows on their way through the operators: read, counted, told, and each of them followed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from danlu.blocks.chain import PIECE, Chain, chains, cut
from danlu.blocks.crew import Crew
from danlu.blocks.delimited import DOUBTS, NOTES
from danlu.blocks.journal import Journal, numbered
from danlu.blocks.personal import blacked
from danlu.blocks.pieces import Pieces
from danlu.blocks.splits import key_array
from danlu.blocks.tables import MOST_SAMPLES, shown_rows
from danlu.contracts import Columns, Context, Counts, Operator, Source
from danlu.core.errors import DataError
from danlu.core.events import Events
from danlu.core.files import sha256_bytes

FROZEN_FIRST = ("test", "validation", "train")
"""The order in which a source's own splits are cleaned: of equal inputs the first stays, so no test row goes."""
OWN = "__split__"
"""The column that says which of the source's own splits a row is in, until the rows are cut."""


@dataclass
class Sifting:
    """The making of a data set: what is told of each operator, and the journal of the rows."""

    scratch: Path
    """A folder for rows that are too many for memory."""
    journal: Journal
    events: Events
    seed: int
    crew: Crew
    told: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the reader guessed, such as the encoding."""
    doubts: list[tuple[str, str]] = field(default_factory=list)
    """What was probably misread, and the option of the source that mends it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """How many rows each of the source's own splits gave; under "" where it has none."""

    def read(self, source: Source) -> tuple[Pieces, str]:
        """All rows, numbered, and one digest of them in any order; the source's own splits are in the column `OWN`."""
        self.crew.expect(source.bytes_about())
        own = [name for name in FROZEN_FIRST if name in source.splits()]
        rows, keys = Pieces(self.scratch), []
        for name in own or [""]:
            before = rows.num_rows
            for batch in source.rows(name):
                piece = pa.Table.from_batches([batch])
                self._hear(piece)
                if own:
                    piece = piece.append_column(OWN, pa.array([name] * piece.num_rows, pa.string()))
                keys.append(key_array(piece, piece.column_names, exact=True))
                rows.add(numbered(piece, rows.num_rows))
                self.crew.expect(rows.nbytes)
                self.events.progress("reading", rows.num_rows, None, "rows")
            self.sizes[name] = rows.num_rows - before
        self.events.progress("reading", rows.num_rows, rows.num_rows, "rows")
        if not rows.num_rows:
            raise DataError("the source has no rows", where=source.name, do="name a source that has some")
        return rows, sha256_bytes(np.sort(np.concatenate(keys)).tobytes())

    def _hear(self, piece: pa.Table) -> None:
        told = piece.schema.metadata or {}
        notes, doubts = (told.get(name, b"").decode().splitlines() for name in (NOTES, DOUBTS))
        self.notes += [note for note in notes if note not in self.notes]
        pairs = [(what, option) for what, _, option in (line.partition("\t") for line in doubts)]
        self.doubts += [pair for pair in pairs if pair not in self.doubts]

    def operate(
        self,
        rows: Pieces,
        operators: Sequence[Operator],
        columns: Columns,
        split: str = "",
        held: Mapping[str, Pieces] = MappingProxyType({}),
    ) -> Pieces:
        """The rows after the operators that work on `split` (empty: on all rows, before the cut)."""
        mine = [one for one in operators if (split in one.where() if split else not one.where())]
        done, context, following = 0, Context(columns, split, self.seed, dict(held)), list(chains(mine))
        while following:
            (spread, ones), *following = following
            names = [_told(one, split) for one in ones]
            self.events.progress("cleaning", done, len(mine), "operators", operator=", ".join(one.name for one in ones))
            chain = Chain(ones, names, context)
            if not spread or held:
                rows = self._one_by_one(rows, chain)
            elif following and following[0][1][0].small_pieces and not rows.many:
                (_, after), *following = following
                rows = self._sifted(_Coming(self._worked(rows, chain)), after[0], _told(after[0], split), context)
                done += 1
            else:
                rows = Pieces.of(self._worked(rows, chain), self.scratch)
            done += len(ones)
        if mine:
            self.events.progress("cleaning", len(mine), len(mine), "operators")
        return rows

    def _one_by_one(self, rows: Pieces, chain: Chain) -> Pieces:
        for operator, name in zip(chain.operators, chain.names, strict=True):
            rows = self._sifted(rows, operator, name, chain.context)
        return rows

    def _sifted(self, rows: Pieces | _Coming, operator: Operator, name: str, context: Context) -> Pieces:
        pieces = [rows.whole()] if isinstance(rows, Pieces) and not operator.takes_pieces() else rows
        after, counts, offset = Pieces(self.scratch), Counts(0, 0), 0
        for before, (piece, said) in zip(pieces, operator.sift(pieces, context), strict=True):
            self.journal.note(name, before, piece, said)
            added(counts, said, offset)
            after.add(piece)
            offset += before.num_rows
        _check_left(name, operator, counts)
        rows.remove()
        self.tell(name, counts)
        return after

    def _worked(self, rows: Pieces, chain: Chain) -> Iterator[pa.Table]:
        """The rows after operators that treat each alone, piece by piece through all of them."""
        totals = [Counts(0, 0) for _ in chain.operators]
        pieces = (part for piece in rows.parts(PIECE) for part in cut(piece))
        for worked in self.crew.work(chain, pieces, rows.nbytes):
            self.journal.write(worked.entries)
            for total, said in zip(totals, worked.counts, strict=False):
                added(total, said, 0)
            if worked.rows.num_rows or not rows.num_rows:
                yield worked.rows
        for name, operator, counts in zip(chain.names, chain.operators, totals, strict=True):
            _check_left(name, operator, counts)
            self.tell(name, counts)
        rows.remove()

    def keep(self, name: str, rows: Pieces, mask: np.ndarray[Any, Any], shown: Sequence[str]) -> Pieces:
        """The rows of a mask; the others are counted under `name`, with these columns of some."""
        after, counts, place = Pieces(self.scratch), Counts(0, 0), 0
        for before in rows:
            mine = mask[place : place + before.num_rows]
            piece = before.filter(pa.array(mine))
            said = Counts(before.num_rows, piece.num_rows)
            said.samples = [(row, None) for row in shown_rows(before, np.flatnonzero(~mine), shown)]
            self.journal.note(name, before, piece, said)
            added(counts, said, place)
            after.add(piece)
            place += before.num_rows
        rows.remove()
        self.tell(name, counts)
        return after

    def tell(self, name: str, counts: Counts) -> None:
        """Write down what an operator did, as JSON values."""
        told = {part: getattr(counts, part) for part in ("rows_in", "rows_out", "changed", "by", "notes")}
        told["samples"] = covered(counts.samples)
        self.told.append(json.loads(json.dumps({"name": name, **told}, default=str)))


class _Coming:
    """Pieces that are still being made: gone through any number of times, each is made when it is first asked for."""

    def __init__(self, made: Iterator[pa.Table]) -> None:
        self._made, self._have = made, list[pa.Table]()

    def __iter__(self) -> Iterator[pa.Table]:
        for place in count():
            if place == len(self._have):
                self._have.extend(islice(self._made, 1))
            if place == len(self._have):
                return
            yield self._have[place]

    def remove(self) -> None:
        """Let go of the pieces."""
        self._have.clear()


def _told(operator: Operator, split: str) -> str:
    """The name that an operator is told by."""
    return f"{operator.name} on {split}" if split else operator.name


def _check_left(name: str, operator: Operator, counts: Counts) -> None:
    if counts.rows_in and not counts.rows_out:
        why = ", ".join(f"{count:,} for {rule}" for rule, count in counts.by.items())
        what = f"the operator {name} left none of {counts.rows_in:,} rows" + (f": {why}" if why else "")
        raise DataError(what, do=f"change the options of {operator.name}, or check the columns")


def covered(value: Any) -> Any:
    """A value for a report, with the personal data in its texts blacked out."""
    if isinstance(value, str):
        return blacked(value)
    if isinstance(value, Mapping):
        return {name: covered(part) for name, part in value.items()}
    return [covered(part) for part in value] if isinstance(value, list | tuple) else value


def added(total: Counts, piece: Counts, offset: int) -> None:
    """Add the counts of a piece that begins at row `offset` to those of the pieces before it."""
    total.rows_in += piece.rows_in
    total.rows_out += piece.rows_out
    total.changed += piece.changed
    total.samples += piece.samples[: MOST_SAMPLES - len(total.samples)]
    total.notes += [note for note in piece.notes if note not in total.notes]
    total.by = dict(Counter(total.by) + Counter(piece.by))
    total.why |= {offset + place: why for place, why in piece.why.items()}


def said(step: Mapping[str, Any]) -> list[str]:
    """What to tell of an operator's work, one text a line."""
    dropped = step["rows_in"] - step["rows_out"]
    done = [f"dropped {dropped:,} of {step['rows_in']:,} rows"] if dropped > 0 else []
    done += [f"added {-dropped:,} rows to {step['rows_in']:,}"] if dropped < 0 else []
    done += [f"changed {step['changed']:,}"] if step["changed"] else []
    rules = ", ".join(f"{rule} {count:,}" for rule, count in step["by"].items())
    whole = ", ".join(done) + (f" ({rules})" if rules else "")
    return [f"{step['name']}: {text}" for text in [*([whole] if whole else []), *step["notes"]]]
