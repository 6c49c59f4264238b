"""Many texts cut into tokens by all processors; the ids are those of `TextProcessor.inputs`, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, islice, pairwise, tee
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.chain import Worked
from danlu.blocks.crew import Crew
from danlu.blocks.tokens import TextProcessor, storable
from danlu.blocks.word_columns import WordColumns
from danlu.contracts import Arrays, Processor, Task
from danlu.core.errors import DataError
from danlu.values import Row

PIECE, _FEW = 1 << 21, 64
"""Characters of a piece about, and texts that are counted at once."""
_NAMES = ("input_ids", "token_type_ids")


class Cutting:
    """The work of a crew on tables with a column `text`: their ids, as lists."""

    def __init__(self, processor: TextProcessor, limit: int | None) -> None:
        self.processor, self.limit = processor, limit
        self._columns = WordColumns(processor.words) if processor.words is not None else None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.processor, self.limit)  # words that were met are not worth their way

    def work(self, rows: pa.Table) -> Worked:
        """A column for each array that the processor gives, but for the mask of ones."""
        texts = rows.column("text").combine_chunks()
        most, known = self.processor.most_of(self.limit), self._columns
        if known is not None and most >= known.least:
            columns = {"input_ids": self._looked_up(texts, known, most)}
        else:
            found = [self.processor.inputs(text, self.limit) for text in texts.to_pylist()]
            columns = {name: _lists([one[name] for one in found]) for name in _NAMES if found and name in found[0]}
        return Worked(pa.table(columns), [], pa.table({}))

    def _looked_up(self, texts: pa.StringArray, known: WordColumns, most: int) -> pa.ListArray:
        """The ids by the words of all texts, but for those that the tokenizer itself must be asked about."""
        odd = pc.greater(pc.utf8_length(texts), self.processor.longest(most))
        if known.added:
            odd = pc.or_(odd, pc.match_substring_regex(texts, known.added))
        rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False))
        told = {int(row): self.processor.inputs(texts[int(row)].as_py(), self.limit)["input_ids"] for row in rows}
        return known.ids_of(texts, most, told)


def _lists(arrays: list[Any]) -> pa.ListArray:
    ends = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, np.concatenate(arrays).astype(np.int32))


def cut_texts(
    processor: TextProcessor, texts: Iterable[str], limit: int | None, crew: Crew, size: int
) -> Iterator[dict[str, Any]]:
    """What `processor.inputs(text, limit)` gives, of each text in turn; `size` is that of all texts in bytes."""
    for worked in crew.work(Cutting(processor, limit), _pieces(texts), size):
        columns = {name: list(_arrays(worked.rows.column(name))) for name in worked.rows.column_names}
        masks = _ones(columns["input_ids"])
        types = columns.get("token_type_ids")
        for place, (ids, mask) in enumerate(zip(columns["input_ids"], masks, strict=True)):
            made = {"input_ids": ids, "attention_mask": mask}
            yield made if types is None else {**made, "token_type_ids": types[place]}


def _pieces(texts: Iterable[str]) -> Iterator[pa.Table]:
    left, some, length = iter(texts), list[str](), 0
    while few := list(islice(left, _FEW)):
        some += few
        length += sum(map(len, few))
        if length >= PIECE:
            yield _piece(some)
            some, length = [], 0
    if some:
        yield _piece(some)


def _piece(texts: list[str]) -> pa.Table:
    try:
        return pa.table({"text": pa.array(texts, pa.string())})
    except UnicodeEncodeError:  # one of them is not storable as it is
        return pa.table({"text": pa.array(list(map(storable, texts)), pa.string())})


def _arrays(column: pa.ChunkedArray) -> Iterator[np.ndarray[Any, Any]]:
    """Each list of a column as int64."""
    for chunk in column.chunks:
        ends, values = chunk.offsets.to_numpy().tolist(), chunk.values.to_numpy().astype(np.int64)
        yield from (values[first:last] for first, last in pairwise(ends))


def _ones(arrays: Sequence[np.ndarray[Any, Any]]) -> Iterator[np.ndarray[Any, Any]]:
    """For each array one of ones, as long."""
    ends = list(accumulate(map(len, arrays), initial=0))
    ones = np.ones(ends[-1], np.int64)
    return (ones[first:last] for first, last in pairwise(ends))


@contextmanager
def ahead(task: Task, processor: Processor, rows: Callable[[], Iterable[Row]], size: int) -> Iterator[Processor]:
    """A processor for `task.examples` of these rows in their order, `size` bytes in all, that answers the same.

    The texts are cut by all processors, ahead of what is asked. It is the processor itself where that does not pay, and
    where the task asks for anything else than the one text of a row.
    """
    with Crew() as crew:
        heard: Any = _Heard(processor)
        first = next(iter(rows()), None) if crew.pays(size) and isinstance(processor, TextProcessor) else None
        if first is not None:
            with suppress(DataError):  # told with the row's place when its turn comes
                task.examples(first, heard)
        if first is None or [x for x, _ in heard.asked] != [task.ask(first)] or not isinstance(task.ask(first), str):
            yield processor
            return
        limit = heard.asked[0][1]
        texts, again = tee(x if isinstance(x := task.ask(row), str) else "" for row in rows())
        assert isinstance(processor, TextProcessor)
        made: Any = _Ahead(processor, limit, zip(texts, cut_texts(processor, again, limit, crew, size), strict=True))
        yield made


class _Heard:
    """A processor that notes what it is asked."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self.asked: list[tuple[Any, int | None]] = []

    def inputs(self, x: Any, limit: int | None = None) -> Arrays:
        self.asked.append((x, limit))
        return self._processor.inputs(x, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)


class _Ahead:
    """A processor that has cut these texts already; whatever else it is asked, the processor answers."""

    def __init__(self, processor: Processor, limit: int | None, cut: Iterator[tuple[str, Arrays]]) -> None:
        self._processor, self._limit, self._cut = processor, limit, cut

    def inputs(self, x: Any, limit: int | None = None) -> Arrays:
        text, arrays = next(self._cut, (None, {}))
        return arrays if limit == self._limit and x == text else self._processor.inputs(x, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)
