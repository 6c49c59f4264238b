"""How a picture lies in a table: the one convention for sources, tasks and data sets.

A picture is an Arrow struct `{bytes: binary, path: string}`, of which one is set, as in Hugging Face data sets; what
Danlu writes itself is PNG. A column of strings is taken as paths. `pixels.open_picture` opens either. A path in a table
is absolute; a source that reads relative ones puts the pictures themselves into the rows (`read_pictures`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.pixels import encode_picture
from danlu.blocks.places import check_inside
from danlu.blocks.tables import is_text
from danlu.core.errors import DataError

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture_column(pictures: Iterable[np.ndarray[Any, Any]]) -> pa.Array:
    """A column of PNGs from arrays of uint8, [height, width] or [height, width, 3]."""
    return pa.array(({"bytes": encode_picture(pixels), "path": None} for pixels in pictures), type=PICTURE)


def inside(cell: Any) -> Any:
    """The picture that a table's cell holds, as bytes or a path."""
    if isinstance(cell, Mapping):
        return cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
    return cell


def cell_of(x: Any) -> dict[str, Any]:
    """The cell of a table for which `inside` gives this picture."""
    return {"bytes": None, "path": x} if isinstance(x, str) else {"bytes": encode_picture(x), "path": None}


def read_pictures(batch: pa.RecordBatch, columns: Sequence[str], folder: Path) -> pa.RecordBatch:
    """The batch with the files that these columns name, relative to `folder`, in the place of their paths.

    An empty cell stays empty. Raises DataError for a column or a file that is not there.
    """
    for name in columns:
        cells = [_content(folder, cell) for cell in column(batch, name).to_pylist()]
        batch = batch.set_column(batch.schema.get_field_index(name), name, pa.array(cells, PICTURE))
    return batch


def column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column by its name. Raises DataError, with the columns there are, when there is none."""
    if name not in batch.schema.names:
        there = ", ".join(batch.schema.names)
        raise DataError(f"there is no column {name!r} of pictures; the columns are: {there}", do="change `pictures`")
    return batch.column(name)


def picture_path(folder: Path, name: str) -> Path:
    """The file that a cell names. Raises DataError when it leads out of the folder, or is no regular file.

    A table may come from a stranger: a cell such as `../../.ssh/id_rsa` must not carry a file into a data set.
    """
    path = folder / name
    if path.exists():
        check_inside(folder, path, name)
    elif ".." in Path(name).parts or Path(name).is_absolute():
        raise DataError(f"{name!r} leads out of the folder", where=str(folder), do="put the picture below it")
    return path


def _content(folder: Path, path: str | None) -> dict[str, Any] | None:
    if not path:
        return None
    try:
        return {"bytes": picture_path(folder, path).read_bytes(), "path": None}
    except OSError as fault:
        what = f"the picture can't be read: {fault.strerror}"
        raise DataError(what, where=str(folder / path), do="correct its path, or remove the row") from fault


def check_paths(column: pa.ChunkedArray, name: str) -> None:
    """Raise DataError for a picture given as a relative path: a table does not say which folder it starts at."""
    paths = pc.struct_field(column, "path") if column.type == PICTURE else column
    if not is_text(paths.type):
        return
    relative = next((path for path in pc.unique(paths).to_pylist() if path and not Path(path).is_absolute()), None)
    if relative:
        what = f"the column {name!r} holds relative paths, such as {relative!r}, and no folder that they start at"
        do = f"of a csv file: data.source.csv.pictures=[{name}]; another source gives absolute paths, or the pictures"
        raise DataError(what, do=do)
