"""A whole version as one file for another machine, and the way of one into a registry.

An archive holds `version.json` (the record: files with their digests, metadata, manifests), `card.md`, and every file
below `files/`. The same version gives the same bytes. Whoever takes one in trusts nothing it says: only the members
that the record lists, plain files all, of the size and digest it lists, of accepted formats, and nothing that unpacks
to much more than it is.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from danlu.blocks import untrusted
from danlu.core import plugin
from danlu.core.digests import files_digest
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.core.files import disk_faults, safe_join, sha256_file
from danlu.core.machine import disk_free
from danlu.core.plugin import lazy
from danlu.registry import card, content, drawing, telling
from danlu.registry.members import MOST_MEMBERS, opened, write_members
from danlu.registry.store import Registry
from danlu.registry.versions import StoredFile, Version, check_name

FORMAT = 1
_RECORD, _CARD, _FILES = "version.json", "card.md", "files/"
_MOST_RECORD = 64 << 20
_MOST_MANIFESTS = 200
_MOST_TIMES, _ALWAYS = 200, 16 << 20
"""What unpacks to more than so many times its own size is a bomb, unless it is small all the same."""

_ort: Any = lazy("danlu.blocks.ort")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _File(_Strict):
    sha256: Digest
    size: Annotated[int, Field(ge=0)]


class Record(_Strict):
    """What `version.json` says."""

    format: int
    danlu: str
    name: str
    number: Annotated[int, Field(ge=1)]
    digest: Digest
    published: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT[0-9:.+]{5,30}$")]
    files: Annotated[dict[str, _File], Field(min_length=1, max_length=MOST_MEMBERS)]
    metadata: dict[str, Any]
    manifests: Annotated[list[dict[str, Any]], Field(max_length=_MOST_MANIFESTS)]

    @property
    def stored(self) -> dict[str, StoredFile]:
        return {path: StoredFile(file.sha256, file.size) for path, file in self.files.items()}


def write(version: Version, folder: Path, target: Path) -> None:
    """Write the archive of a version, whole or not at all; `folder` holds its files.

    Raises RecipeError when `target` is there, or ends in neither `.tar.gz` nor `.zip`.
    """
    record = {
        "format": FORMAT,
        "danlu": plugin.code_identity(),
        **{name: getattr(version, name) for name in ("name", "number", "digest", "published")},
        "files": {path: {"sha256": file.sha256, "size": file.size} for path, file in version.files.items()},
        "metadata": version.metadata,
        "manifests": list(version.manifests),
    }
    members: dict[str, bytes | Path] = {_RECORD: json.dumps(record, ensure_ascii=True, indent=1).encode()}
    members[_CARD] = card.markdown(version).encode("utf-8", "backslashreplace")
    members |= {_FILES + path: folder / path for path in sorted(version.files)}
    write_members(target, members)


def take_in(registry: Registry, path: Path, *, name: str = "", actor: str = "") -> Version:
    """The version in an archive, or in its unpacked folder, as the next version of `name` (else of its own name).

    Where it came from is in its metadata (`origin`) and in the audit; a version of byte-equal content that is there is
    returned instead. Nothing is stored when it is refused. Raises RecipeError for a bad name or no archive, DataError
    naming what is wrong in it, MachineError when it does not fit on the disk.
    """
    if name:
        check_name(name)
    if not path.exists():
        raise RecipeError("there is no such archive", where=str(path), do="danlu export NAME@V --archive FILE.tar.gz")
    with registry.workplace() as folder:
        record = _unpack(path, folder, registry.store)
        names = sorted(record.files)
        check_model(folder, names)
        origin = {"reference": f"{record.name}@{record.number}", "digest": record.digest}
        origin |= {"published": record.published, "danlu": record.danlu}
        origin |= {"archive": path.name} if path.is_dir() else {"archive": path.name, "sha256": sha256_file(path)}
        metadata = {**record.metadata, "origin": origin}
        told = (record.digest, record.published, record.stored, metadata, record.manifests)
        _check_shown(Version(record.name, record.number, *told))
        why = f"imported from {path.name}: {origin['reference']}, published {record.published}, {record.digest[:12]}"
        wanted = name or check_name(record.name)
        return registry.publish(wanted, folder, metadata=metadata, manifests=record.manifests, actor=actor, why=why)


def check_model(folder: Path, names: list[str]) -> None:
    """Refuse files of other formats, code in settings and templates, and weights that are not numbers; DataError."""
    content.check_folder(folder)
    untrusted.check_words(folder, names)
    untrusted.check_weights(folder, names)
    for name in names:
        if name.endswith(".onnx"):
            _ort.check_numbers(folder / name)


def _check_shown(version: Version) -> None:
    """What the record says of itself must be such that card and lineage can be shown; nothing of it is believed."""
    try:
        for show in (card.markdown, card.html, telling.tree, drawing.svg):
            show(version)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as fault:
        what = f"what it says of its origin is not as Danlu writes it ({type(fault).__name__}: {fault})"
        raise DataError(what, where=_RECORD, do="export it again") from fault


# ---- unpacking -------------------------------------------------------------------------------------------------------


def _unpack(path: Path, folder: Path, store: Path) -> Record:
    """Put the files of an archive into `folder`, each checked against the record; returns the record."""
    whole = sum(p.stat().st_size for p in path.rglob("*")) if path.is_dir() else path.stat().st_size
    most = max(_ALWAYS, _MOST_TIMES * whole)
    record: Record | None = None
    seen: set[str] = set()
    try:
        with opened(path) as members:
            for name, read in members:
                if name in seen or len(seen) > MOST_MEMBERS + 2:
                    raise DataError(f"{name!r} stands in it twice, or it has too many members", where=path.name)
                seen.add(name)
                if name == _RECORD:
                    record = _read_record(b"".join(read(min(most, _MOST_RECORD))), path.name)
                    _check_size(record, most, store, path.name)
                elif name == _CARD:
                    pass  # it is made from the record
                elif record is None:
                    raise DataError(f"its first member is {name!r} and not {_RECORD}", where=path.name)
                else:
                    _take(name, read, record.files, folder)
    except (zlib.error, EOFError, UnicodeDecodeError, NotImplementedError, RuntimeError, ValueError) as fault:
        raise DataError(f"the archive is damaged: {fault}", where=path.name, do="export it again") from fault
    if record is None:
        raise DataError(f"there is no {_RECORD} in it", where=path.name, do="danlu export NAME@V --archive FILE.tar.gz")
    if missing := sorted(record.files.keys() - {name.removeprefix(_FILES) for name in seen}):
        raise DataError(f"its file {missing[0]} is missing", where=path.name, do="export it again")
    return record


def _read_record(data: bytes, where: str) -> Record:
    try:
        plain = json.loads(data)
        if isinstance(plain, Mapping) and isinstance(plain.get("format"), int) and plain["format"] > FORMAT:
            raise DataError("it was written by a newer Danlu", where=where, do="pip install --upgrade danlu")
        record = Record.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}"
        raise DataError(
            f"its {_RECORD} is not as Danlu writes it: {told}", where=where, do="export it again"
        ) from error
    except (ValueError, RecursionError) as fault:
        raise DataError(f"its {_RECORD} can't be read: {fault}", where=where, do="export it again") from fault
    if files_digest({path: file.sha256 for path, file in record.files.items()}) != record.digest:
        raise DataError(f"the digests in its {_RECORD} are not those of one version", where=where, do="export it again")
    return record


def _check_size(record: Record, most: int, store: Path, where: str) -> None:
    size = sum(file.size for file in record.files.values())
    if size > most:
        raise DataError(
            f"it unpacks to {size / 1e6:,.0f} MB, which such a small archive can't honestly hold", where=where
        )
    if size > disk_free(store):
        raise MachineError(f"it unpacks to {size / 1e6:,.0f} MB, more than is free", where=str(store), do="danlu clean")


def _take(name: str, read: Any, files: Mapping[str, _File], folder: Path) -> None:
    relative = name.removeprefix(_FILES)
    if not name.startswith(_FILES) or relative not in files:
        raise DataError(f"{name!r} is not among the files that its {_RECORD} lists", do="export it again")
    target, told = safe_join(folder, relative), files[relative]
    try:
        with disk_faults(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in read(told.size):
                    file.write(piece)
    except OSError as fault:  # no such name is possible on this disk, or it is a file and a folder at once
        raise DataError(f"{relative[:60]!r} can't be written: {fault.strerror}", do="export it again") from fault
    if target.stat().st_size != told.size or sha256_file(target) != told.sha256:
        raise DataError(f"its file {relative} has another SHA-256 than its {_RECORD} says", do="export it again")
