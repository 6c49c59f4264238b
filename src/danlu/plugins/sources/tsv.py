"""Rows of TSV files: a tab between cells, as linguistic corpora and databases write them."""

from __future__ import annotations

from typing import ClassVar

from danlu.blocks.delimited_source import DelimitedSource


class TSV(DelimitedSource):
    """Files with a header line. Every cell is read as text; a cell that holds a tab or a line's end is quoted (`"`).

    Files are streamed. A row with the wrong number of cells is an error that names the line, never dropped uncounted.
    """

    endings: ClassVar[tuple[str, ...]] = (".tsv", ".tab")

    def separator(self) -> str:
        return "\t"
