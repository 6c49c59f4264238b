"""Mask personal data in text: a tag, a keyed hash or a made-up value in its place, or the row dropped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from danlu.blocks.names import NameFinder
from danlu.blocks.personal import KINDS, Found, Kind, Mask, blacked, find_in, joined
from danlu.blocks.tables import MOST_SAMPLES, check_columns, is_text, shown
from danlu.contracts import Context, Counts, Files, Operator
from danlu.core.errors import MachineError
from danlu.core.settings import Model

_LEAST_KEY = 32
_MAKE_KEY = "openssl rand -hex 32"


class MaskPII(Operator):
    """Finds e-mail addresses, telephone numbers, identity and passport numbers, cards, accounts, IP addresses, secrets
    and licence plates, by patterns and check digits. Names of people and organisations are found where `names` gives a
    model that tags words; what it misses stays, and other operators' samples show it.

    Nothing it tells holds a value: samples are blacked out, a row is told by its kinds. Put it first: an operator
    before it shows samples of the text as it was.
    """

    by_row: ClassVar[bool] = True

    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    """What is masked; what is left out stays in the rows, and is blacked out in samples all the same."""
    style: Literal["tag", "hash", "fake", "drop"] = "tag"
    """`tag` writes `[EMAIL]`; `hash` writes `[EMAIL#…]`, the same for the same value and key; `fake` a value of the
    same shape whose check digits are wrong; `drop` drops the row."""
    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""
    names: Model | None = None
    """The folder of a model of the task `token_classification` (the one with `forms.json` in it) that finds names."""
    named: dict[str, Literal["person", "organisation"]] = Field(
        default={"PER": "person", "PERSON": "person", "ORG": "organisation", "nr": "person", "nt": "organisation"}
    )
    """What the types of that model are; other types are no names."""
    key_env: str = Field(default="DANLU_MASK_KEY", pattern="^[A-Z][A-Z0-9_]*$")
    """The environment variable that holds the secret key of `hash` and, where it is set, of `fake`. A step is reused
    though the variable changed; not so with `key_file`."""
    key_file: Files | None = None
    """A file that holds the key instead; the reuse key of the step has its SHA-256."""

    def spreads(self) -> bool:
        return self.names is None and super().spreads()  # a model is loaded once

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        """Raises DataError for a column that is not there, MachineError when the key is missing or short."""
        columns = tuple(dict.fromkeys(self.columns or context.columns.ask))
        check_columns(table, columns, option="mask_pii.columns")
        mask = None if self.style == "drop" else Mask(self.style, self._key(), context.seed)
        counts = Counts(table.num_rows, table.num_rows)
        kinds_of: dict[int, set[str]] = {}
        seen: dict[str, dict[int, list[Found]]] = {}
        before = table
        for name in columns:
            column = before.column(name)
            if not is_text(column.type):
                counts.notes.append(f"the column {name} holds no text and was left alone")
                continue
            found = seen[name] = self._found(column)
            for row, ones in found.items():
                kinds_of.setdefault(row, set()).update(one.kind for one in ones)
            if mask:
                after = _masked(column, found, mask)
                table = table.set_column(table.column_names.index(name), name, after)
                counts.samples += self._samples(column, after, found, MOST_SAMPLES - len(counts.samples))
        counts.by = dict(sorted(Counter(kind for kinds in kinds_of.values() for kind in kinds).items()))
        counts.why = {row: ", ".join(sorted(kinds)) for row, kinds in sorted(kinds_of.items())}
        if mask:
            counts.changed = len(kinds_of)
            return table, counts
        return _dropped(table, list(counts.why), columns, counts, seen)

    @cached_property
    def _finder(self) -> NameFinder:
        return NameFinder(Path(str(self.names)), self.named)

    def _found(self, column: pa.ChunkedArray) -> dict[int, list[Found]]:
        found = find_in(column, self.kinds)
        if self.names is None:
            return found
        texts = column.to_pylist()
        rows = [row for row, text in enumerate(texts) if text]
        for row, named in zip(rows, self._finder.find([texts[row] for row in rows]), strict=True):
            if named:
                found[row] = joined([*found.get(row, ()), *named])
        return dict(sorted(found.items()))

    def _key(self) -> bytes:
        if self.style == "tag":
            return b""
        if self.key_file:
            where, key = f"the file {self.key_file}", Path(self.key_file).read_bytes().strip()
        else:
            where, key = f"the environment variable {self.key_env}", os.environ.get(self.key_env, "").strip().encode()
        if self.style == "fake" and not key:
            return b""
        if len(key) < _LEAST_KEY:
            what = f"{where} holds a key of {len(key)} characters" if key else f"{where} holds no key"
            raise MachineError(f"{what}; masking by {self.style} asks for {_LEAST_KEY}", do=f"make one: {_MAKE_KEY}")
        return key

    def _samples(
        self, before: pa.ChunkedArray, after: pa.ChunkedArray, found: dict[int, list[Found]], most: int
    ) -> list[tuple[Any, Any]]:
        """What was there, blacked out, and what is there now; kinds that were not to be masked are blacked out too."""
        others = [kind for kind in KINDS if kind not in self.kinds]
        rows = list(found)[:most]
        places = pa.array(rows, pa.int64())
        pairs = zip(rows, before.take(places).to_pylist(), after.take(places).to_pylist(), strict=True)
        return [(shown(blacked(old, also=found[row])), shown(blacked(new, others))) for row, old, new in pairs]


def _masked(column: pa.ChunkedArray, found: dict[int, list[Found]], mask: Mask) -> pa.ChunkedArray:
    rows = np.array(list(found), dtype=np.int64)
    if not len(rows):
        return column
    changed = np.zeros(len(column), dtype=bool)
    changed[rows] = True
    texts = column.take(pa.array(rows)).to_pylist()
    new = pa.array([mask.apply(text, found[row]) for row, text in zip(rows, texts, strict=True)], column.type)
    return pa.chunked_array(pc.replace_with_mask(column, pa.array(changed), new))


def _dropped(
    table: pa.Table,
    rows: list[int],
    names: tuple[str, ...],
    counts: Counts,
    seen: Mapping[str, Mapping[int, list[Found]]],
) -> tuple[pa.Table, Counts]:
    keep = np.ones(table.num_rows, dtype=bool)
    keep[rows] = False
    kept = table.filter(pa.array(keep, pa.bool_()))
    few = table.select(names).take(pa.array(rows[:MOST_SAMPLES], pa.int64())).to_pylist()
    hidden = [
        {
            name: shown(blacked(v, also=seen.get(name, {}).get(row, ())) if isinstance(v, str) else v)
            for name, v in values.items()
        }
        for row, values in zip(rows, few, strict=False)
    ]
    counts.samples = [(values, None) for values in hidden]
    counts.rows_out = kept.num_rows
    return kept, counts
