"""What folders of pictures and of sounds have in common: labels by folder or by a CSV, splits, broken files."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from danlu.blocks import places, remote
from danlu.blocks.delimited import read_delimited
from danlu.blocks.places import check_inside
from danlu.blocks.skipping import OnError, Skipping, with_notes
from danlu.contracts import Source
from danlu.core.digests import files_below, no_such_file
from danlu.core.errors import DataError, RecipeError
from danlu.core.settings import Files, Rows, is_url

_SPLITS = ("train", "validation", "test")
_ROWS = 64
"""Files held at a time."""
_MOST = 1 << 30
"""Bytes of a file elsewhere; a larger one is no row, and would fill the disk."""


@dataclass(frozen=True)
class _Found:
    """File names, each with its label, and what was passed over."""

    labels: dict[str, str]
    notes: list[str]


class MediaSource(Source):
    """A folder of files, each a row. Derive from it, and write `cells`."""

    main: ClassVar[str] = "path"
    thing: ClassVar[str]
    """What a file is: `picture`."""
    endings: ClassVar[tuple[str, ...]]

    path: Rows
    """The folder, relative to the recipe; or the URL of one (`s3://…`), whose files are copied here a few at a time."""
    labels: Files | None = None
    """A CSV with the columns `file` (its path below the folder) and `label`; without one, folders are the labels."""
    others: Literal["skip", "refuse"] = "skip"
    """What is done about a file that by its name's end is none of these, or that `labels` leaves out: passed over,
    counted and told, or an error. Names that begin with a dot are never looked at."""
    on_error: OnError = "stop"
    """What is done about a broken file: `stop` there, or `skip` it, counted and told (each is then looked at twice)."""
    most_skipped: float = Field(0.01, ge=0, le=1)
    """The share of files that may be skipped; above it reading stops."""

    @abstractmethod
    def columns(self) -> list[tuple[str, pa.DataType]]:
        """The columns that `cells` gives values of; `label` and `file` come after them."""

    @abstractmethod
    def cells(self, path: Path) -> tuple[Any, ...]:
        """The values of `columns` for a file. Raises DataError for one that is broken."""

    def splits(self) -> tuple[str, ...]:
        folders = {name.partition("/")[0] for name in self._names() if "/" in name}
        return tuple(name for name in _SPLITS if name in folders) if folders and folders <= set(_SPLITS) else ()

    def fingerprint(self) -> str | None:
        """Of a URL what lies there now; a folder here is looked at by the plan."""
        return places.fingerprint(self.path) if is_url(self.path) else ""

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        found, skipping = self._chosen(split), Skipping(self.on_error, self.most_skipped)
        notes = list(found.notes)
        if skipping.skips:
            looked = sum(len(kept) for kept in self._read(list(found.labels), skipping))
            notes += skipping.settle(looked)
        columns = [*self.columns(), ("label", pa.string()), ("file", pa.string())]
        schema = with_notes(pa.schema(columns), notes)
        names = [name for name in found.labels if name not in skipping.skipped]
        for kept in self._read(names, skipping):
            rows = [(*cells, found.labels[name], name) for name, cells in kept]
            arrays = [
                pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def origin(self, row: int, split: str = "") -> str:
        """The file that a row is. Rows count from 0, in the order of `rows(split)`."""
        names, skipping = list(self._chosen(split).labels), Skipping(self.on_error, 1)
        if skipping.skips:
            names = [name for kept in self._read(names, skipping) for name, _ in kept]
        if row >= len(names):
            raise DataError(f"there is no row {row}: there are {len(names)}", where=self.path)
        return self._shown(names[row])

    def _read(self, names: Sequence[str], skipping: Skipping) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
        left = iter(names)
        with self._opened(names) as place_of:
            while some := list(islice(left, _ROWS)):
                kept = []
                for name in some:
                    try:
                        kept.append((name, self.cells(place_of(name))))
                    except DataError as fault:
                        skipping.fault(DataError(fault.what, where=self._shown(name), do=_REPLACE), name)
                    except OSError as fault:
                        what = f"the {self.thing} can't be read: {fault.strerror}"
                        raise DataError(what, where=self._shown(name)) from fault
                if kept:
                    yield kept

    @contextmanager
    def _opened(self, names: Sequence[str]) -> Iterator[Callable[[str], Path]]:
        """Where the file of a name lies on this machine, until the next is asked for, in the order of `names`."""
        if not is_url(self.path):
            yield lambda name: self._place / name
            return
        files = {one.name: one for one in self._elsewhere()}
        wanted = [files[name] for name in names]
        with places.spool() as folder, remote.Fetching(wanted, folder, _MOST, do=_REPLACE) as fetching:
            read = folder / "file"
            yield lambda _: fetching.take().replace(read)

    def _shown(self, name: str) -> str:
        return f"{self.path.partition('?')[0].rstrip('/')}/{name}" if is_url(self.path) else str(self._place / name)

    def _chosen(self, split: str) -> _Found:
        have = self.splits()
        if split and split not in have:
            what = f"there is no folder {split!r} in {self.path}; its splits are: {', '.join(have) or 'none'}"
            raise RecipeError(what, do="leave the split out")
        found = self._by_table() if self.labels else self._by_folder(depth=1 if have else 0)
        if not found.labels:
            wanted = ", ".join(sorted(self.endings))
            raise DataError(f"there is no {self.thing} in the folder", where=self.path, do=f"give {wanted}")
        mine = {name: label for name, label in found.labels.items() if not split or name.startswith(f"{split}/")}
        return _Found(mine, found.notes)

    def _by_folder(self, depth: int) -> _Found:
        """`depth` is how many folders lie above a label's."""
        names = self._names()
        strange = [name for name in names if not self._fits(name)]
        self._may_pass_over(strange, self._strange(strange))
        good = [name for name in names if self._fits(name)]
        if loose := [name for name in good if name.count("/") <= depth]:
            what = f"{len(loose)} {self.thing}s lie in no label's folder: {_few(loose)}"
            raise DataError(what, where=self.path, do="make a folder for each label, and put them there; or `labels`")
        per_folder = Counter(name.split("/")[depth] for name in good)
        if empty := sorted({name.split("/")[depth] for name in strange if name.count("/") > depth} - per_folder.keys()):
            raise DataError(
                f"the folder {empty[0]!r} holds no {self.thing}", where=self.path, do="remove it, or fill it"
            )
        notes = [f"{self._strange(strange)}, and were passed over: {_few(strange)}"] if strange else []
        return _Found({name: name.split("/")[depth] for name in good}, notes)

    def _by_table(self) -> _Found:
        table = Path(self.labels or "").expanduser()
        names, labels = set(self._names()), {}
        for batch in read_delimited(table):
            if lost := {"file", "label"} - set(batch.schema.names):
                raise DataError(f"it has no column {min(lost)!r}", where=str(table), do="write the columns file,label")
            for name, label in zip(*(batch.column(one).to_pylist() for one in ("file", "label")), strict=True):
                if name in labels:
                    raise DataError(f"the file {name!r} stands there twice", where=str(table), do="remove one row")
                if name not in names:
                    raise DataError(
                        f"it names {name!r}, which is not in {self.path}", where=str(table), do="correct it"
                    )
                labels[name] = label
        left = sorted(name for name in names if self._fits(name) and name not in labels)
        told = f"{len(left)} {self.thing}s have no row in {table.name}"
        self._may_pass_over(left, told)
        notes = [f"{told}, and were passed over: {_few(left)}"] if left else []
        return _Found({name: labels[name] for name in sorted(labels)}, notes)

    def _may_pass_over(self, names: list[str], told: str) -> None:
        if names and self.others == "refuse":
            raise DataError(f"{told}: {_few(names)}", where=self.path, do="remove them, or `others: skip`")

    def _strange(self, names: list[str]) -> str:
        return f"1 file is no {self.thing}" if len(names) == 1 else f"{len(names)} files are no {self.thing}s"

    def _fits(self, name: str) -> bool:
        return Path(name).suffix.lower() in self.endings

    def _names(self) -> list[str]:
        """Every file below the folder by its path there, sorted; what begins with a dot is left out."""
        if is_url(self.path):
            return [one.name for one in self._elsewhere()]
        place = self._place
        if not place.is_dir():
            raise (
                DataError("it is a file", where=self.path, do="name a folder")
                if place.exists()
                else no_such_file(place)
            )
        found = sorted(files_below(place))
        for name, path in found:
            check_inside(place, path, name)
        return [name for name, _ in found]

    def _elsewhere(self) -> list[remote.RemoteFile]:
        if self.path.startswith(("http://", "https://")):
            raise DataError("a web server does not tell what is in a folder", where=self.path, do="copy it here")
        return remote.find(self.path, lambda _: True)

    @property
    def _place(self) -> Path:
        return Path(self.path).expanduser()


_REPLACE = "replace it, or remove it"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
