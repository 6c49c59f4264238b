"""Pictures in folders, one folder a label: `cats/1.png`, `dogs/2.jpg`; or with a CSV of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from danlu.blocks.media_source import MediaSource
from danlu.blocks.pictures import PICTURE
from danlu.blocks.pixels import open_picture


class ImageFolder(MediaSource):
    """Columns `image`, `label` and `file`: the picture's bytes, the name of its folder, its path below `path`.

    A label's folder may hold folders of its own; the outermost one is the label. When all outermost folders are called
    `train`, `validation` or `test` they are the splits, and the labels are the folders in them. Rows come in the order
    of their paths, and a picture is read, and looked at, when its row is. A broken one is an error that names it.
    """

    thing: ClassVar[str] = "picture"
    endings: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

    def columns(self) -> list[tuple[str, pa.DataType]]:
        return [("image", PICTURE)]

    def cells(self, path: Path) -> tuple[Any, ...]:
        content = path.read_bytes()
        open_picture(content)
        return ({"bytes": content, "path": None},)
