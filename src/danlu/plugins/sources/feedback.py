"""What people said of a model's answers: JSON Lines files that a server collects, a request a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal

import pyarrow as pa

from danlu.blocks.file_source import ParsedSource
from danlu.blocks.json_lines import read_lines
from danlu.blocks.objects import Found
from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping, with_notes
from danlu.core.errors import DataError

_ROWS = 1024
_NEEDED = ("id", "time", "input", "answer")
_COLUMNS = ("id", "time", "text", "answer", "label")


class Feedback(ParsedSource):
    """Columns `id`, `time`, `text` (the input), `answer` and `label` (the correction), all text.

    A line is `{"id": …, "time": …, "input": …, "answer": …, "correction": …}`; an input, answer or correction that is
    no text is written as JSON. Of several lines with one `id`, files in the order of their names, the last one counts.
    Other keys are passed over. The ids are held in memory.
    """

    endings: ClassVar[tuple[str, ...]] = (".jsonl",)

    rows_with: Literal["correction", "all"] = "correction"
    """Which requests are taken: those somebody corrected, or all; `label` is missing where there is no correction."""

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        last: dict[str, tuple[str, int]] = {}
        for file in files:
            for number, row in _checked(file):
                if isinstance(row, DataError):
                    skipping.fault(row, (file.name, number))
                elif self._takes(row):
                    last[row["id"]] = (file.name, number)
        schema = with_notes(pa.schema([(name, pa.string()) for name in _COLUMNS]), skipping.settle(len(last)))
        if not last:
            do = "collect some, or `rows_with: all`" if self.rows_with == "correction" else "collect some"
            raise DataError(f"there is no request with a {self.rows_with}", where=self.path, do=do)
        for file in files:
            kept = (
                row
                for number, row in _checked(file)
                if isinstance(row, dict) and last.get(row["id"]) == (file.name, number)
            )
            while rows := list(islice(kept, _ROWS)):
                columns = zip(*(_cells(row) for row in rows), strict=True)
                yield file, pa.RecordBatch.from_arrays([pa.array(one, pa.string()) for one in columns], schema=schema)

    def _takes(self, row: dict[str, Any]) -> bool:
        return self.rows_with == "all" or row.get("correction") is not None


def _checked(file: File) -> Iterator[Found]:
    for number, row in read_lines(file):
        if isinstance(row, dict):
            lost = [key for key in _NEEDED if row.get(key) is None]
            if lost or not isinstance(row["id"], str):
                what = f"a request has no {lost[0]!r}" if lost else "the id of a request is not text"
                where, do = f"{file.shown}, line {number}", f"write the keys {', '.join(_NEEDED)}, correction"
                yield number, DataError(what, where=where, do=do)
                continue
        yield number, row


def _cells(row: dict[str, Any]) -> list[str | None]:
    return [_text(row.get(key)) for key in (*_NEEDED, "correction")]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
