"""Rows of a data set on the Hugging Face hub, at one commit, or of a folder laid out like one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
from pydantic import model_validator

from danlu.contracts import Source
from danlu.core.digests import path_digest
from danlu.core.errors import DanluError, MachineError, RecipeError
from danlu.core.plugin import lazy

_datasets: Any = lazy("datasets", extra="hub")
_ROWS = 1024
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Hub(Source):
    """Streamed by the library `datasets`, with the types it knows; a data set's own code is never run.

    Texts of a class are numbers there, and come as their names.
    """

    main: ClassVar[str] = "id"
    extra: ClassVar[str] = "hub"

    id: str
    """`org/name` on the hub, or the absolute path of a folder of Parquet, CSV or JSON files."""
    revision: str = ""
    """The commit, 40 digits, so that another day gives the same rows; a folder has none."""
    config: str = ""
    """The part of the data set, where it has several."""

    @model_validator(mode="after")
    def _is_pinned(self) -> Self:
        if not self._folder and not _COMMIT.fullmatch(self.revision):
            raise ValueError("needs `revision`, the 40 digits of a commit, from 'History' on the data set's page")
        return self

    def splits(self) -> tuple[str, ...]:
        with _told(self.id):
            names = _datasets.get_dataset_split_names(**self._asked())
        return tuple(sorted(name for name in names if name in ("train", "validation", "test")))

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        have = self.splits()
        if split and split not in have:
            what = f"the data set has no split {split!r}; it has: {', '.join(have) or 'none'}"
            raise RecipeError(what, do="leave the split out")
        for name in [split] if split else have:
            with _told(self.id):
                yield from self._rows(name)

    def fingerprint(self) -> str | None:
        """The commit, which is a setting; of a folder its content."""
        return path_digest(Path(self.id)) if self._folder else ""

    def origin(self, row: int, split: str = "") -> str:
        """Where a row comes from: the data set, and its number."""
        return f"{self.id} {split}".strip() + f", row {row + 1}"

    @property
    def _folder(self) -> bool:
        return Path(self.id).is_absolute()

    def _asked(self) -> dict[str, Any]:
        pinned = {} if self._folder else {"revision": self.revision}
        return {"path": self.id, "config_name": self.config or None, **pinned}

    def _rows(self, split: str) -> Iterator[pa.RecordBatch]:
        asked = self._asked()
        data = _datasets.load_dataset(asked.pop("path"), asked.pop("config_name"), split=split, streaming=True, **asked)
        named = {
            name: pa.array(kind.names)
            for name, kind in (data.features or {}).items()
            if isinstance(kind, _datasets.ClassLabel)
        }
        for table in data.with_format("arrow").iter(batch_size=_ROWS):
            for name, names in named.items():
                place = table.schema.get_field_index(name)
                table = table.set_column(place, name, names.take(table.column(name).combine_chunks()))
            yield from table.replace_schema_metadata(None).combine_chunks().to_batches()


@contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except DanluError:
        raise
    except Exception as fault:  # the library raises what four others raise
        said = (str(fault).splitlines() or [""])[0]
        what = f"the data set can't be read: {type(fault).__name__}: {said}"
        do = "check the name and the network; offline, read its files by `parquet`"
        raise MachineError(what, where=place, do=do) from fault
