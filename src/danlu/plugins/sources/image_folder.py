"""Pictures in folders, one folder a label: `cats/1.png`, `dogs/2.jpg`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import pyarrow as pa

from danlu.blocks.delimited import NOTES
from danlu.blocks.pictures import PICTURE
from danlu.blocks.pixels import open_picture
from danlu.contracts import Source
from danlu.core.digests import no_such_file
from danlu.core.errors import DataError, RecipeError
from danlu.core.settings import Files

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_SPLITS = ("train", "validation", "test")
_ROWS = 64
"""Pictures held at a time."""


class ImageFolder(Source):
    """Columns `image`, `label` and `file`: the picture's bytes, the name of its folder, its path below `path`.

    A label's folder may hold folders of its own; the outermost one is the label. When all outermost folders are called
    `train`, `validation` or `test` they are the splits, and the labels are the folders in them. Rows come in the order
    of their paths, and a picture is read, and looked at, when its row is. A broken one is an error that names it.
    """

    main: ClassVar[str] = "path"

    path: Files
    """The folder, relative to the recipe."""
    others: Literal["skip", "refuse"] = "skip"
    """What is done about a file that is no picture by its name's end: passed over, counted and told, or an error. Names
    that begin with a dot are never looked at."""

    def splits(self) -> tuple[str, ...]:
        folders = {name.partition("/")[0] for name in self._names() if "/" in name}
        return tuple(name for name in _SPLITS if name in folders) if folders and folders <= set(_SPLITS) else ()

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        have = self.splits()
        if split and split not in have:
            what = f"there is no folder {split!r} in {self.path}; its splits are: {', '.join(have) or 'none'}"
            raise RecipeError(what, do="leave the split out")
        found = self._found(depth=1 if have else 0)
        metadata = {NOTES: "\n".join(found.notes).encode()} if found.notes else None
        schema = pa.schema([("image", PICTURE), ("label", pa.string()), ("file", pa.string())], metadata=metadata)
        chosen = iter([name for name in found.pictures if not split or name.startswith(f"{split}/")])
        while names := list(islice(chosen, _ROWS)):
            pictures = pa.array([{"bytes": self._bytes(name), "path": None} for name in names], PICTURE)
            labels = pa.array([name.split("/")[1 if have else 0] for name in names])
            yield pa.RecordBatch.from_arrays([pictures, labels, pa.array(names)], schema=schema)

    def _found(self, depth: int) -> _Found:
        """The pictures, and what was passed over. `depth` is how many folders lie above a label's."""
        names = self._names()
        strange = [name for name in names if Path(name).suffix.lower() not in _SUFFIXES]
        if strange and self.others == "refuse":
            raise DataError(
                f"{_counted(strange)}: {_few(strange)}", where=self.path, do="remove them, or `others: skip`"
            )
        pictures = [name for name in names if Path(name).suffix.lower() in _SUFFIXES]
        if loose := [name for name in pictures if name.count("/") <= depth]:
            what = f"{len(loose)} pictures lie in no label's folder: {_few(loose)}"
            raise DataError(what, where=self.path, do="make a folder for each label, and put them there")
        per_folder = Counter(name.rpartition("/")[0].split("/")[depth] for name in pictures)
        if empty := sorted({name.split("/")[depth] for name in strange if name.count("/") > depth} - per_folder.keys()):
            raise DataError(f"the folder {empty[0]!r} holds no picture", where=self.path, do="remove it, or fill it")
        if not pictures:
            raise DataError(
                "there is no picture in the folder", where=self.path, do=f"give {', '.join(sorted(_SUFFIXES))}"
            )
        notes = [f"{_counted(strange)}, and were passed over: {_few(strange)}"] if strange else []
        return _Found(pictures, notes)

    def _names(self) -> list[str]:
        """Every file below the folder by its path there, sorted; what begins with a dot is left out."""
        place = self._place
        if not place.is_dir():
            raise (
                DataError("it is a file", where=self.path, do="name a folder")
                if place.exists()
                else no_such_file(place)
            )
        found = (path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
        return sorted(name for name in found if not any(part.startswith(".") for part in name.split("/")))

    def _bytes(self, name: str) -> bytes:
        """The file's content. Raises DataError for one that is no picture, whatever its name says, or is cut off."""
        path = self._place / name
        try:
            content = path.read_bytes()
        except OSError as fault:
            raise DataError(f"the picture can't be read: {fault.strerror}", where=str(path)) from fault
        try:
            open_picture(content)
        except DataError as fault:
            raise DataError(fault.what, where=str(path), do="replace it, or remove it") from fault
        return content

    @property
    def _place(self) -> Path:
        return Path(self.path).expanduser()


class _Found(NamedTuple):
    pictures: list[str]
    notes: list[str]


def _counted(names: list[str]) -> str:
    return "1 file is no picture" if len(names) == 1 else f"{len(names)} files are no pictures"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
