"""How a picture lies in a table: the one convention for sources, tasks and data sets.

A picture is an Arrow struct `{bytes: binary, path: string}`, of which one is set, as in Hugging Face data sets; what
Danlu writes itself is PNG. A column of strings is taken as paths. `pixels.open_picture` opens either.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from danlu.blocks.pixels import open_picture
from danlu.core.errors import DataError

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """PNG of grey values [height, width] or colours [height, width, 3], as uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def picture_column(pictures: Iterable[np.ndarray[Any, Any]]) -> pa.Array:
    """A column of PNGs from arrays as `png` takes them."""
    return pa.array(({"bytes": png(pixels), "path": None} for pixels in pictures), type=PICTURE)


def check_pictures(table: pa.Table, column: str) -> None:
    """Open every picture of a column; raises DataError naming the first row (counted from 1) that has none."""
    for row, cell in enumerate(table.column(column), 1):
        try:
            open_picture(cell.as_py())
        except DataError as fault:
            where = ", ".join(filter(None, (f"row {row}", f"column {column}", fault.where)))
            raise DataError(fault.what, where=where, do=fault.do or "replace it, or remove the row") from fault
