"""Rows of a data asset: real data that ships inside a published package (`danlu assets` lists them)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa

from danlu.blocks.readers import READERS, Reader
from danlu.contracts import Source
from danlu.core import assets
from danlu.core.errors import RecipeError


class Asset(Source):
    """The table of an asset, by its own label rule (see its module in `danlu.blocks.readers`).

    It must have been fetched: `danlu assets get NAME`.
    """

    main: ClassVar[str] = "asset"

    asset: str
    """The asset's name, such as `movie-snippets`."""

    def splits(self) -> tuple[str, ...]:
        return self._reader().splits

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        reader = self._reader()
        if split and split not in reader.splits:
            have = ", ".join(reader.splits) or "none"
            raise RecipeError(
                f"the asset {self.asset} has no split {split!r}; it has: {have}", do="leave the split out"
            )
        yield from reader.read(assets.folder(self.asset), split).to_batches()

    def fingerprint(self) -> str:
        return f"{assets.fingerprint(f'asset:{self.asset}')} reader {self._reader().version}"

    def _reader(self) -> Reader:
        entry = assets.find(self.asset)
        if not entry.reader:
            readable = ", ".join(name for name, other in assets.catalogue().items() if other.reader)
            raise RecipeError(f"the asset {self.asset} has no reader yet", do=f"choose one of: {readable}")
        return READERS[entry.reader]
