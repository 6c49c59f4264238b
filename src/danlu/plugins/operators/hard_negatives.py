"""Put near passages that do not belong to a query beside it, for `embedding` and `reranking` to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from danlu.blocks import untrusted
from danlu.blocks.bm25 import BM25
from danlu.blocks.mining import Mined, Rule, Scores, mine
from danlu.blocks.tables import MOST_SAMPLES, shown_rows
from danlu.contracts import Context, Counts, Location, Operator
from danlu.core import assets
from danlu.core.errors import DataError
from danlu.core.plugin import lazy

_vectors: Any = lazy("danlu.blocks.text_vectors")
_AT_ONCE = 512
_NEGATIVE = "negative"


class HardNegatives(Operator):
    """Mines hard negatives: training passages that a query is near to and that do not belong to it.

    Training rows alone, and only their own passages are candidates. What belongs to a query, or to an equal one, in any
    row is none; what is nearer than the margin allows may belong unsaid and is left out. All pairs of queries and
    passages are compared, so the work grows with their product. Rows with lists of `passages` and their `relevance` get
    the negatives at the front of the list, where the task's `hard` counts first; rows of a query and one passage get a
    column `negative`, and stand there `number` times. Where too few candidates are left the others are drawn by lot,
    and told.
    """

    main: ClassVar[str] = "encoder"
    splits: ClassVar[tuple[str, ...]] = ("train",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "answer": ("ranking",)}

    encoder: Location | None = "asset:minilm"
    """What says how near texts are, by the cosine of its sentence vectors: `asset:name`, `./folder`, or
    `hub:org/name@commit`. `null`: the words they share (BM25), for passages that say a query's words again."""
    number: int = Field(default=1, ge=1, le=8)
    """How many negatives a query gets; the task's option `hard` says how many of them are used."""
    range_min: int = Field(default=0, ge=0)
    """So many of the nearest are passed over."""
    range_max: int = Field(default=50, ge=1)
    """How far down the nearest are looked at."""
    relative_margin: float = Field(default=0.05, ge=0, lt=1)
    """A negative is at most this share less similar to the query than the nearest passage that belongs to it."""
    absolute_margin: float | None = Field(default=None, ge=0)
    """And at most this much less similar, such as 0.1 of a cosine."""
    sampling: Literal["top", "random"] = "top"
    """Whether the nearest of those are taken, or any by lot."""

    @model_validator(mode="after")
    def _a_range(self) -> HardNegatives:
        if self.range_min + self.number > self.range_max:
            what = f"between range_min ({self.range_min}) and range_max ({self.range_max}) there are not {self.number}"
            raise ValueError(what)
        return self

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = _columns(context)
        rows = _Rows.read(table, names)
        mined = self._mined(rows, context.seed) if rows.truth else {}
        after, counts = (_in_lists if len(names) == 3 else _in_a_column)(table, names, rows, mined)
        lot, near = (sum(getattr(one, of) for one in mined.values()) for of in ("lot", "near"))
        taken = sum(len(one.places) for one in mined.values())
        counts.by = {how: n for how, n in {"mined": taken - lot, "by lot": lot}.items() if n}
        counts.notes.append(f"{near:,} candidates of {len(mined):,} queries were too near to what belongs to them")
        if lot > taken / 2:
            counts.notes.append("most negatives are drawn by lot: lower relative_margin, or raise range_max")
        return after, counts

    def _mined(self, rows: _Rows, seed: int) -> dict[str, Mined]:
        rule = Rule(*(getattr(self, name) for name in Rule.__dataclass_fields__))
        rng = np.random.default_rng([seed, len(rows.texts)])
        similar = self._similar(list(rows.queries.values()), rows.texts)
        return {
            query: mine(scores, rows.truth[query], rule, rng)
            for query, scores in zip(rows.queries, similar, strict=True)
        }

    def _similar(self, queries: Sequence[str], texts: Sequence[str]) -> Iterator[Scores]:
        """The similarities of each query to all texts."""
        if self.encoder is None:
            words = BM25(texts)
            yield from (words.scores([query])[0] for query in queries)
            return
        folder = assets.resolve(self.encoder)
        untrusted.check_model(folder)
        ours, theirs = (_vectors.text_vectors(folder, some) for some in (queries, texts))
        for k in range(0, len(queries), _AT_ONCE):
            yield from ours[k : k + _AT_ONCE] @ theirs.T


class _Rows:
    """The queries of a table, its different passages, and which of them belong to which."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.queries: dict[str, str] = {}
        """Each different query, by its text without case and spacing."""
        self.truth: dict[str, set[int]] = {}
        self._known: dict[str, int] = {}

    @classmethod
    def read(cls, table: pa.Table, names: tuple[str, ...]) -> _Rows:
        found = cls()
        for row in table.select(names).to_pylist():
            query, passages, *relevance = row.values()
            if not query or not passages:
                continue
            listed = passages if relevance else [passages]
            places = [found._place(one) for one in listed if one]
            right = [bool(one) for one in relevance[0] or ()] if relevance else [True]
            true = {place for place, here in zip(places, right, strict=False) if here}
            if true:
                found.queries.setdefault(_plain(query), query)
                found.truth.setdefault(_plain(query), set()).update(true)
        for query, belong in found.truth.items():
            belong.update([found._known[query]] if query in found._known else [])
        return found

    def _place(self, text: str) -> int:
        plain = _plain(text)
        if plain not in self._known:
            self._known[plain] = len(self.texts)
            self.texts.append(text)
        return self._known[plain]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _columns(context: Context) -> tuple[str, ...]:
    """The columns of query, passages and, where a row has a list of them, relevance."""
    ask, gold = context.columns.ask, context.columns.gold
    if len(ask) == 2:
        return tuple(dict.fromkeys((*ask, *gold)))
    what = "a row has its `negative` already" if len(ask) > 2 else "a row is a query alone, and nothing belongs to it"
    raise DataError(f"there is nothing to mine: {what}", where="hard_negatives", do="leave hard_negatives out")


def _with_negatives(table: pa.Table, negatives: Sequence[str | None]) -> pa.Table:
    if _NEGATIVE in table.column_names:
        what = f"the rows have a column {_NEGATIVE!r} already, and it is none of the task's"
        raise DataError(what, where="hard_negatives", do="rename the column, or leave hard_negatives out")
    return table.append_column(_NEGATIVE, pa.array(negatives, pa.string()))


def _in_lists(
    table: pa.Table, names: tuple[str, ...], rows: _Rows, mined: Mapping[str, Mined]
) -> tuple[pa.Table, Counts]:
    """The negatives at the front of each row's list; what stood there already moves to the front."""
    query, passages, relevance = names
    lists, numbers, changed = list[Any](), list[Any](), list[int]()
    for place, row in enumerate(table.select(names).to_pylist()):
        found = mined.get(_plain(row[query] or ""))
        own, scores = row[passages], row[relevance]
        if found and own and scores and found.places:
            new = [rows.texts[one] for one in found.places]
            plain = {_plain(one) for one in new}
            stays = [k for k, one in enumerate(own) if one is None or _plain(one) not in plain]
            lists.append([*new, *(own[k] for k in stays)])
            numbers.append([*([0] * len(new)), *(scores[k] for k in stays if k < len(scores))])
        else:
            lists.append(own)
            numbers.append(scores)
        if lists[-1] != own or numbers[-1] != scores:
            changed.append(place)
    after = table
    for name, values in ((passages, lists), (relevance, numbers)):
        field = table.schema.field(name)
        after = after.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    counts = Counts(table.num_rows, table.num_rows, changed=len(changed))
    shown = (shown_rows(one, changed, names) for one in (table, after))
    counts.samples = list(zip(*shown, strict=True))
    return after, counts


def _in_a_column(
    table: pa.Table, names: tuple[str, ...], rows: _Rows, mined: Mapping[str, Mined]
) -> tuple[pa.Table, Counts]:
    """A row for each negative; one that has none goes, for all rows must have as many."""
    taken, negatives = list[int](), list[str | None]()
    gone = Counter[str]()
    counts = Counts(table.num_rows, 0)
    for place, text in enumerate(table.column(names[0]).to_pylist()):
        found = mined.get(_plain(text or ""))
        if found and not found.places:
            gone["without a negative"] += 1
            counts.why[place] = "no passage was far enough from what belongs to its query"
            continue
        these = [rows.texts[one] for one in found.places] if found else [None]
        taken += [place] * len(these)
        negatives += these
    after = _with_negatives(table.take(pa.array(taken, pa.int64())), negatives)
    counts.rows_out = counts.changed = after.num_rows
    few = list(range(min(MOST_SAMPLES, len(taken))))
    counts.samples = list(
        zip(shown_rows(table, [taken[k] for k in few], names), shown_rows(after, few, (*names, _NEGATIVE)), strict=True)
    )
    if gone:
        counts.notes.append(f"{gone.total():,} rows had no passage far enough to be their negative, and were dropped")
    return after, counts
