"""The registry: models under a name, in numbered versions that never change, and aliases that move between them.

A version's files are content-addressed blobs, its record a row in `registry.db`. Files come first and are on the disk
before the record is written in one transaction, so a version that can be seen is whole, whenever a writer was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection, Row, Select, func, select

from danlu.core.digests import files_digest
from danlu.core.errors import DataError, GateError, RecipeError
from danlu.core.files import locked, make_dirs, temp_beside
from danlu.core.plugin import did_you_mean
from danlu.core.resolve import Published
from danlu.registry import audit, content, database
from danlu.registry.blobs import Blobs
from danlu.registry.database import Database
from danlu.registry.versions import (
    ANY,
    Entry,
    StoredFile,
    Unchecked,
    Version,
    check_alias,
    check_name,
    now,
    read_reference,
)


@dataclass(frozen=True)
class Garbage:
    """What nothing refers to: paths with their sizes in bytes."""

    files: Mapping[Path, int]

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(self.files.values())


class Registry:
    """The versions in one store. Making the object touches nothing; an empty store just has no versions.

    Safe to use from several processes and threads at once. Every method raises `MachineError` when the disk or the
    database refuses, and `DataError` when what is stored is damaged.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.blobs = Blobs(store / "blobs")
        self.database = Database(store / "registry.db")
        self._built = store / "versions"
        self._in_use = self.blobs.folder / ".lock"  # shared by who makes references to blobs, alone for who removes

    # ---- versions

    def publish(
        self,
        name: str,
        folder: Path,
        *,
        metadata: Mapping[str, Any],
        manifests: Sequence[Mapping[str, Any]] = (),
        actor: str = "",
        why: str = "",
    ) -> Version:
        """Store a folder as the next version of a model; when this returns, the version survives a power cut.

        `metadata` is what the model card says (`card.Metadata`), `manifests` are those of the artifacts the model was
        made from (`lineage.lineage`); both are plain JSON. Numbers are 1, 2, 3 … without a gap. When the model has a
        version of byte-equal files, that one is returned with `created` false, and nothing is written. Whatever is
        interrupted leaves no version, at most blobs that `clean` removes.

        Raises `RecipeError` for a bad name; `DataError` for a folder that is empty, has a link or a file of a format
        that is not accepted, or changes meanwhile, and for metadata that is not JSON.
        """
        check_name(name)
        facts = _json(metadata, "metadata"), _json(list(manifests), "manifests")
        paths = content.check_folder(folder)
        self.database.ensure()
        make_dirs(self.blobs.folder)
        with locked(self._in_use, shared=True):
            files = self._put(folder, paths)
            with self.database.writing() as connection:
                number, created = _insert(connection, name, files, *facts, actor, why)
        return replace(self.version(name, number), created=created)

    def _put(self, folder: Path, paths: Sequence[str]) -> dict[str, StoredFile]:
        files = {}
        for path in paths:
            files[path], was_damaged = self.blobs.put(folder / path)
            if was_damaged:
                self._forget_folders(files[path].sha256)
        return files

    def _forget_folders(self, sha256: str) -> None:
        """Remove the built folders that hold damaged content; they are built again from the mended blob."""
        versions, files = database.versions, database.files
        join = (versions.c.name == files.c.name) & (versions.c.number == files.c.number)
        query = select(versions.c.digest).join(files, join).where(files.c.sha256 == sha256).distinct()
        for row in self.database.rows(query):
            content.remove(self._folder(row.digest))

    def names(self) -> list[str]:
        """The names of all models."""
        query = select(database.versions.c.name).distinct().order_by(database.versions.c.name)
        return [row.name for row in self.database.rows(query)]

    def versions(self, name: str = "", *, limit: int | None = None) -> list[Version]:
        """The versions of one model or of all: by name, the newest first, at most `limit`."""
        table = database.versions.c
        query = select(database.versions).order_by(table.name, table.number.desc()).limit(limit)
        return self._load(query.where(table.name == name) if name else query)

    def version(self, name: str, number: int) -> Version:
        """One version by its number. Raises `RecipeError` naming the versions there are when there is no such one."""
        check_name(name)
        table = database.versions.c
        found = self._load(select(database.versions).where(table.name == name, table.number == number))
        return found[0] if found else self._unknown(name, f"there is no version {number} of {name}")

    def resolve(self, reference: str) -> Version:
        """The version that `name@3`, `name@alias` or `name` (which means `name@production`) stands for.

        Raises `RecipeError` when there is none, with the nearest names, or the versions and aliases there are.
        """
        name, choice = read_reference(reference)
        if isinstance(choice, str):
            number = self.aliases(name).get(choice)
            if number is None:
                self._unknown(name, f"{name} has no alias {choice}")
            choice = number
        return self.version(name, choice)

    def published(self, reference: str) -> Published:
        """That version as a recipe takes it where a plug-in asks for a model; raises as `resolve`."""
        version = self.resolve(reference)
        return Published(version.reference, version.digest, lambda: self.open(version))

    def _unknown(self, name: str, what: str) -> NoReturn:
        names = self.names()
        if name not in names:
            what = f"there is no model {name}{did_you_mean(name, names)}"
            raise RecipeError(what, where=str(self.store), do="`danlu versions` lists what there is")
        newest = self.versions(name, limit=1)[0].number
        aliases = ", ".join(f"{alias} → {number}" for alias, number in self.aliases(name).items()) or "none"
        do = f"name a version ({name}@{newest}), or give one the alias: danlu promote {name}@{newest}"
        raise RecipeError(f"{what}; versions: 1 to {newest}; aliases: {aliases}", where=str(self.store), do=do)

    def _load(self, query: Select[Any]) -> list[Version]:
        rows = self.database.rows(query)
        if not rows:
            return []
        files = database.files.c
        chosen = query.with_only_columns(database.versions.c.name, database.versions.c.number).subquery()
        join = (files.name == chosen.c.name) & (files.number == chosen.c.number)
        lists: dict[tuple[str, int], dict[str, StoredFile]] = {(row.name, row.number): {} for row in rows}
        for file in self.database.rows(select(database.files).join(chosen, join).order_by(files.path)):
            lists[file.name, file.number][file.path] = StoredFile(file.sha256, file.size)
        return [self._read(row, lists[row.name, row.number]) for row in rows]

    def _read(self, row: Row[Any], files: Mapping[str, StoredFile]) -> Version:
        digest = files_digest({path: file.sha256 for path, file in files.items()})
        if (digest, audit.seal(*row[:-1])) != (row.digest, row.seal):
            what = f"the record of {row.name}@{row.number} is not as it was written"
            raise DataError(what, where=str(self.database.path), do="restore registry.db from a backup")
        metadata, manifests = json.loads(row.metadata), json.loads(row.manifests)
        return Version(row.name, row.number, row.digest, row.published, files, metadata, manifests)

    # ---- files

    def open(self, version: Version) -> Path:
        """A read-only folder with the files of a version, every byte of it checked by SHA-256 just now.

        It is built on first use from hard links to the blobs (copies where the disk has no links), whole or not at all.
        Raises `DataError` naming the version, the file and the mend when anything differs from what was published.
        """
        folder = self._folder(version.digest)
        if folder.is_dir():
            fault = content.find_fault(folder, version.files)
        else:
            make_dirs(folder.parent)
            with locked(self._in_use, shared=True):
                fault = content.build(folder, version.files, self.blobs)
        if fault:
            self._damaged(version, *fault)
        return folder

    def verify(self, version: Version) -> None:
        """Check every stored byte of a version, in the blobs and in its built folder if there is one; as `open`."""
        for path, file in version.files.items():
            if not self.blobs.is_whole(file.sha256):
                self._damaged(version, path, "is damaged or missing")
        folder = self._folder(version.digest)
        fault = content.find_fault(folder, version.files) if folder.is_dir() else None
        if fault:
            self._damaged(version, *fault)

    def damage(self, *, full: bool = False) -> list[DataError]:
        """What is wrong with the stored files of all versions: gone or of another size, with `full` any other byte."""
        faults = []
        for version in self.versions():
            try:
                self.verify(version) if full else self._look(version)
            except DataError as fault:
                faults.append(fault)
        return faults

    def _look(self, version: Version) -> None:
        for path, file in version.files.items():
            blob = self.blobs.path(file.sha256)
            if not blob.is_file() or blob.stat().st_size != file.size:
                self._damaged(version, path, "is damaged or missing")

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A new folder in the store, gone when the block ends; `clean` removes what a killed process left of one."""
        make_dirs(self._built)
        make_dirs(self.blobs.folder)
        folder = temp_beside(self._built / "work")
        with locked(self._in_use, shared=True):
            try:
                make_dirs(folder)
                yield folder
            finally:
                content.remove(folder)

    def _folder(self, digest: str) -> Path:
        return self._built / digest

    def _damaged(self, version: Version, path: str, how: str) -> NoReturn:
        file = version.files.get(path)
        if file and not self.blobs.is_whole(file.sha256):
            where = self.blobs.path(file.sha256)
            do = f"publish the same content again, which mends it, or go back: danlu rollback {version.name}"
        else:
            where = self._folder(version.digest)
            do = f"remove that folder; it is built again from the store, which is whole: rm -rf {where}"
        raise DataError(f"{path} of {version.reference} {how}", where=str(where), do=do)

    # ---- aliases and audit

    def aliases(self, name: str) -> dict[str, int]:
        """Alias → the number of the version it points to. Raises `RecipeError` for what is no name."""
        check_name(name)
        return audit.places(self.database, name)

    def move(
        self, name: str, alias: str, *, to: int, expect: int | Unchecked | None = ANY, actor: str = "", why: str = ""
    ) -> Entry:
        """Point an alias to a version, if it still points to `expect` (None: if it does not exist yet; ANY: anyway).

        Comparing and moving are one transaction. Where it points there already, nothing is written and the entry that
        brought it there is returned. Raises `RecipeError` when there is no such version, `GateError` saying who moved
        the alias, when and to what, when the expectation is not met.
        """
        check_alias(alias)
        self.version(name, to)
        with self.database.writing() as connection:
            last = _expected(audit.history(connection, name, alias, limit=1), name, alias, expect)
            if last and last.after == to:
                return last
            before = last.after if last else None
            return audit.add(connection, "move", name, to, alias=alias, before=before, actor=actor, why=why)

    def rollback(
        self,
        name: str,
        alias: str = "production",
        *,
        expect: int | Unchecked | None = ANY,
        actor: str = "",
        why: str = "",
    ) -> Entry:
        """Point an alias to the version it pointed to before; a second rollback goes one further back.

        With `expect`, two people who roll back at once go back one version and not two. Raises `RecipeError` when
        there is no way back, `GateError` as `move`.
        """
        if check_alias(alias) not in self.aliases(name):
            self._unknown(name, f"{name} has no alias {alias}")
        with self.database.writing() as connection:
            moves = audit.history(connection, name, alias)
            _expected(moves, name, alias, expect)
            here, to = moves[-1].after, audit.way_back(moves)
            if to is not None:
                return audit.add(connection, "rollback", name, to, alias=alias, before=here, actor=actor, why=why)
        what = f"{name}@{alias} cannot go back: {name}@{here} is the first version it pointed to"
        raise RecipeError(what, where=str(self.store), do=f"choose a version: danlu promote {name}@NUMBER")

    def audit(self, name: str = "", alias: str = "") -> list[Entry]:
        """What was done, the oldest first: to all models, to one, or to one of its aliases."""
        return audit.entries(self.database, name, alias)

    def check_audit(self) -> int:
        """Check that no entry of the audit was edited, removed or moved; the number of entries. Raises `DataError`."""
        return audit.check(self.database)

    # ---- space

    def clean(self, *, dry_run: bool = False) -> Garbage:
        """Remove what no version refers to (killed and failed writers leave it), and say what it was.

        Waits until nobody publishes, so what is being written just now stays. Versions are never removed. Raises
        `DataError` when there are blobs and no `registry.db`: then it is lost, and the blobs are what can be saved.
        """
        if not self.blobs.folder.is_dir():
            return Garbage({})
        if not self.database.path.exists():
            do = "restore it from a backup, or remove that folder by hand"
            raise DataError(
                "registry.db is gone, so nothing says which blobs are needed", where=str(self.blobs.folder), do=do
            )
        with locked(self._in_use):
            found = Garbage({path: _size(path) for path in self._unreferenced()})
            for path in () if dry_run else found.files:
                content.remove(path) if path.is_dir() else path.unlink()
        return found

    def _unreferenced(self) -> Iterator[Path]:
        kept = {row.sha256 for row in self.database.rows(select(database.files.c.sha256).distinct())}
        yield from (path for path in self.blobs.stored() if path.name not in kept)
        kept = {row.digest for row in self.database.rows(select(database.versions.c.digest).distinct())}
        if self._built.is_dir():
            yield from (folder for folder in self._built.iterdir() if folder.name not in kept)


def _size(path: Path) -> int:
    """Bytes that removing a file or a folder frees; what has other hard links stays on the disk."""
    inside = (Path(place, name) for place, _, names in os.walk(path) for name in names)
    facts = [file.lstat() for file in (inside if path.is_dir() else (path,))]
    return sum(fact.st_size for fact in facts if fact.st_nlink == 1)


def _insert(
    connection: Connection,
    name: str,
    files: Mapping[str, StoredFile],
    metadata: str,
    manifests: str,
    actor: str,
    why: str,
) -> tuple[int, bool]:
    """Write the record of a version inside a transaction: its number, and whether it is new."""
    table = database.versions
    digest = files_digest({path: file.sha256 for path, file in files.items()})
    known = connection.execute(select(table.c.number).where(table.c.name == name, table.c.digest == digest)).scalar()
    if known:
        return int(known), False
    number = 1 + (connection.execute(select(func.max(table.c.number)).where(table.c.name == name)).scalar() or 0)
    rows = [{"name": name, "number": number, "path": path, **vars(file)} for path, file in files.items()]
    connection.execute(database.files.insert(), rows)
    record = {"name": name, "number": number, "digest": digest, "published": now()}
    record |= {"metadata": metadata, "manifests": manifests}
    connection.execute(table.insert().values(**record, seal=audit.seal(*record.values())))
    audit.add(connection, "publish", name, number, actor=actor, why=why)
    return number, True


def _json(value: Any, what: str) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as fault:
        raise DataError(f"the {what} of a version must be plain JSON: {fault}", do="leave out what is not") from fault


def _expected(moves: Sequence[Entry], name: str, alias: str, expect: int | Unchecked | None) -> Entry | None:
    """The last move of an alias; a `GateError` when it does not point to the expected version."""
    last = moves[-1] if moves else None
    present = last.after if last else None
    if expect is ANY or expect == present:
        return last
    told = f"{name}@{expect}" if expect else "no version"
    found = f"{name}@{present}; {last.actor} moved it at {last.at}: {last.why or 'no reason given'}" if last else "none"
    raise GateError(
        f"{name}@{alias} does not point to what was expected: expected {told}, found {found}",
        do=f"look at it (danlu versions {name}), then say again what you want",
    )
