"""Many texts cut into tokens by all processors; the ids are those of `TextProcessor.inputs`, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise, tee
from typing import Any

import numpy as np
import pyarrow as pa

from danlu.blocks.chain import PIECE, Worked
from danlu.blocks.crew import Crew
from danlu.blocks.tokens import TextProcessor, storable
from danlu.contracts import Arrays, Processor, Task
from danlu.core.errors import DataError
from danlu.values import Row

_NAMES = ("input_ids", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Cutting:
    """The work of a crew on tables with a column `text`: their ids, as lists."""

    processor: TextProcessor
    limit: int | None

    def work(self, rows: pa.Table) -> Worked:
        """A column for each array that the processor gives, but for the mask of ones."""
        found = [self.processor.inputs(text, self.limit) for text in rows.column("text").to_pylist()]
        ends = np.cumsum([0, *(len(one["input_ids"]) for one in found)], dtype=np.int32)
        columns = {
            name: pa.ListArray.from_arrays(ends, np.concatenate([one[name] for one in found]).astype(np.int32))
            for name in _NAMES
            if found and name in found[0]
        }
        return Worked(pa.table(columns), [], pa.table({}))


def cut_texts(
    processor: TextProcessor, texts: Iterable[str], limit: int | None, crew: Crew, size: int
) -> Iterator[dict[str, Any]]:
    """What `processor.inputs(text, limit)` gives, of each text in turn; `size` is that of all texts in bytes."""
    for worked in crew.work(Cutting(processor, limit), _pieces(texts), size):
        for row in zip(*(_arrays(worked.rows.column(name)) for name in worked.rows.column_names), strict=True):
            made = dict(zip(worked.rows.column_names, row, strict=True))
            yield {"input_ids": made["input_ids"], "attention_mask": np.ones_like(made["input_ids"]), **made}


def _pieces(texts: Iterable[str]) -> Iterator[pa.Table]:
    some, length = list[str](), 0
    for text in texts:
        some.append(storable(text))
        length += len(text)
        if length >= PIECE:
            yield pa.table({"text": some})
            some, length = [], 0
    if some:
        yield pa.table({"text": some})


def _arrays(column: pa.ChunkedArray) -> Iterator[np.ndarray[Any, Any]]:
    """Each list of a column as int64."""
    for chunk in column.chunks:
        ends, values = chunk.offsets.to_numpy(), chunk.values.to_numpy().astype(np.int64)
        yield from (values[first:last] for first, last in pairwise(ends))


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
