"""The store, and the artifacts in it: folders with a manifest, written whole or not at all.

A store is a folder:

    artifacts/<key>/     what a step made: its files and manifest.json, read-only
    drafts/<key>/        what a step is making now; the leftover of a killed one is removed by the next
    work/<key>/          checkpoints of a step that has not ended; kept across kills
    tokens/<name>/       texts cut into tokens, for trainings on the same ones; made again when they are gone
    locks/<key>          held by the process that makes this artifact (the kernel frees it when the process dies)
    runs/<id>/           a record of each run
    blobs/ versions/ registry.db   published versions; the registry's alone

A key says what went in (settings, code, inputs), a digest what came out. Under a key's lock a draft is filled, hashed,
synced to the disk and renamed; so whoever sees an artifact sees a whole one.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from danlu.core import machine, runs
from danlu.core.canonical import plain, to_json
from danlu.core.errors import DataError, RecipeError
from danlu.core.files import (
    disk_faults,
    freed_by,
    locked,
    make_dirs,
    publish_dir,
    safe_join,
    sha256_bytes,
    sha256_file,
    walk,
    write_atomic,
)
from danlu.core.place import check_place, make_place
from danlu.core.plugin import did_you_mean

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Artifact:
    """What a step made: a folder that never changes, and the manifest that says where it came from."""

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The artifact in a folder; its files are not checked (see `verify`). Raises DataError for a bad manifest."""
        try:
            manifest = json.loads((path / MANIFEST).read_bytes())
            format_ = int(manifest["format"])
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise _damaged(path, f"its {MANIFEST} can't be read: {fault}") from fault
        if format_ > FORMAT:
            raise DataError("it was made by a newer Danlu", where=str(path), do="pip install --upgrade danlu")
        if manifest.get("seal") != _seal(manifest):
            raise _damaged(path, f"its {MANIFEST} was changed after it was made")
        return cls(path, manifest)

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def key(self) -> str:
        """What went in, as 64 hexadecimal digits."""
        return str(self.manifest["key"])

    @property
    def digest(self) -> str:
        """What came out: the SHA-256 over the kind and every file's name and SHA-256."""
        return str(self.manifest["digest"])

    @property
    def numbers(self) -> Mapping[str, Any]:
        """What the step measured. For people and cards: a stage reads the files of its inputs, never these."""
        numbers: Mapping[str, Any] = self.manifest["numbers"]
        return numbers

    def file(self, name: str) -> Path:
        """The path of one of its files. Raises DataError when there is no such file."""
        if name not in self.manifest["files"]:
            raise DataError(
                f"this {self.kind} has no file {name}{did_you_mean(name, list(self.manifest['files']))}",
                where=str(self.path),
            )
        return safe_join(self.path, name)

    def json(self, name: str) -> dict[str, Any]:
        """One of its files, read as JSON."""
        content: dict[str, Any] = json.loads(self.file(name).read_bytes())
        return content

    def verify(self, *, sizes_only: bool = False) -> None:
        """Check every file against its SHA-256, or just its size. Raises DataError naming one that was changed, added
        or removed."""
        found = set(_files(self.path)) - {MANIFEST}
        for name, told in self.manifest["files"].items():
            if name not in found:
                raise _damaged(self.path, f"its file {name} is gone")
            path = self.path / name
            if path.stat().st_size != told["size"] or not (sizes_only or _sha256(path) == told["sha256"]):
                raise _damaged(self.path, f"its file {name} was changed after it was made")
        if added := sorted(found - set(self.manifest["files"])):
            raise _damaged(self.path, f"the file {added[0]} was added after it was made")

    def parents(self, store: Store) -> dict[str, Artifact]:
        """The inputs it was made from, by name; those that were cleaned away are left out."""
        found = {name: store.find(told["key"]) for name, told in self.manifest["inputs"].items()}
        return {name: artifact for name, artifact in found.items() if artifact}


def _damaged(path: Path, what: str) -> DataError:
    return DataError(what, where=str(path), do=f"rm -r {path}   # the next run makes it anew")


def _seal(manifest: Mapping[str, Any]) -> str:
    return sha256_bytes(to_json({k: v for k, v in manifest.items() if k != "seal"}))


def _digest(kind: str, files: Mapping[str, Mapping[str, Any]]) -> str:
    return sha256_bytes(to_json([kind, sorted((name, told["sha256"]) for name, told in files.items())]))


def _files(folder: Path) -> Iterator[str]:
    """Relative paths of the files in a folder. Raises DataError for links and the like: an artifact holds none."""
    for place, folders, names in walk(folder):
        for name in (*names, *folders):
            path = Path(place, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise DataError(
                    "it is neither a file nor a folder, so it can't be part of an artifact", where=str(path)
                )
        yield from (Path(place, name).relative_to(folder).as_posix() for name in names)


def _sha256(path: Path) -> str:
    """A file's SHA-256, read once in a process while neither the file nor its times change (hard links share it)."""
    seen = path.stat()
    return _sha256_of(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, path=_Unkeyed(path))


@dataclass(frozen=True)
class _Unkeyed:
    """A path that is no part of a cache's key."""

    path: Path = field(compare=False)


@functools.lru_cache(maxsize=4096)
def _sha256_of(*stamp: int, path: _Unkeyed) -> str:
    return sha256_file(path.path)


@dataclass
class Draft:
    """An artifact that is being made: the `out` of a stage's `run`."""

    path: Path
    """The folder to write into."""
    work: Path
    """A folder for checkpoints: still there when the run was killed and is started again."""
    store: Path
    key: str
    about: Mapping[str, Any] = field(repr=False)
    """What the plan knows of it: step, stage, kind, settings, code, inputs."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What was measured, in JSON values, for the manifest."""
    notes: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic, repr=False)

    def commit(self) -> Artifact:
        """Make it an artifact, durably; nothing is visible before everything is on the disk.

        An artifact that lies under this key already is replaced. Raises MachineError when the disk refuses.
        """
        final = self.store / "artifacts" / self.key
        with disk_faults(self.path):
            write_atomic(self.path / MANIFEST, to_json(self._manifest(), indent=1) + b"\n")
            for name in _files(self.path):
                (self.path / name).chmod(0o444)
            if final.exists():
                final.rename(self.path.with_name(f"{self.key}.old"))
            publish_dir(self.path, final)
        remove(self.path.with_name(f"{self.key}.old"))
        remove(self.work)
        return Artifact.read(final)

    def _manifest(self) -> dict[str, Any]:
        if (self.path / MANIFEST).exists():
            raise DataError(f"a stage may not write {MANIFEST}", where=str(self.about.get("stage")))
        files = {
            name: {"sha256": _sha256(self.path / name), "size": (self.path / name).stat().st_size}
            for name in sorted(_files(self.path))
        }
        manifest = {
            **self.about,
            "format": FORMAT,
            "key": self.key,
            "digest": _digest(self.about["kind"], files),
            "files": files,
            "numbers": self.numbers,
            "notes": self.notes,
            "machine": machine.facts(self.store),
            "seconds": round(time.monotonic() - self._began, 3),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        settled = plain(manifest)
        return {**settled, "seal": _seal(settled)}

    def abandon(self) -> None:
        """Throw away what was written; checkpoints stay."""
        remove(self.path)
        with suppress(OSError):
            self.work.rmdir()  # only an empty one goes


def remove(path: Path) -> None:
    """Remove a folder and what is in it; nothing happens when it is gone already."""
    shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class Cleaned:
    """What `Store.clean` freed, or would free."""

    bytes: int
    artifacts: tuple[Artifact, ...]
    broken: tuple[DataError, ...] = ()
    """Why some were left alone: nobody can tell what they are."""


class Store:
    """A folder of artifacts, runs and published versions. It is made when something is first written."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()

    @classmethod
    def locate(cls, explicit: Path | None = None, near: Path | None = None) -> Store:
        """The store to use: the one named, else `DANLU_STORE`, else the nearest `.danlu`, else a new one.

        It is looked for in `near` (the recipe's folder, or the working folder) and above, and made in `near`. Raises
        RecipeError when the one named is a file.
        """
        given = explicit or os.environ.get("DANLU_STORE")
        if given:
            path = Path(given).expanduser()
            if path.is_file():
                raise RecipeError("the store is a folder, and this is a file", where=str(path), do="--store FOLDER")
            return cls(path)
        near = (near or Path.cwd()).absolute()
        found = (folder / ".danlu" for folder in (near, *near.parents) if (folder / ".danlu").is_dir())
        return cls(next(found, near / ".danlu"))

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    @property
    def runs(self) -> Path:
        """The folder with a record of each run."""
        return self.path / "runs"

    def find(self, key: str) -> Artifact | None:
        """The artifact of a key, or None. Raises DataError when its manifest is damaged."""
        path = self.path / "artifacts" / key
        return Artifact.read(path) if key and path.is_dir() else None

    def artifacts(self) -> list[Artifact]:
        """Every artifact, the oldest first. Raises DataError when a manifest is damaged."""
        found, broken = self.readable()
        if broken:
            raise broken[0]
        return found

    def readable(self) -> tuple[list[Artifact], list[DataError]]:
        """Every artifact whose manifest is whole, the oldest first, and what is wrong with the others."""
        found, broken = list[Artifact](), list[DataError]()
        folder = self.path / "artifacts"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            try:
                found.append(Artifact.read(path))
            except DataError as fault:
                broken.append(fault)
        return sorted(found, key=lambda a: (a.manifest["created"], a.key)), broken

    def open(self, prefix: str) -> Artifact:
        """The artifact whose digest or key begins with `prefix`; of equal content the newest.

        Raises RecipeError when there is none, or when the prefix is short of telling several apart.
        """
        found = [a for a in self.artifacts() if a.digest.startswith(prefix) or a.key.startswith(prefix)]
        if not found or not prefix:
            raise RecipeError(f"there is no artifact {prefix!r}", where=str(self.path), do="danlu runs")
        if len({a.digest for a in found}) > 1:
            raise RecipeError(f"{prefix!r} begins the names of {len(found)} artifacts", do="give more of its digits")
        return found[-1]

    @contextmanager
    def lock(self, key: str, *, wait: bool = True) -> Iterator[None]:
        """Be the only one, of all processes on this store, who makes this key.

        Raises BlockingIOError when somebody else is and `wait` is False.
        """
        make_place(self.path)
        with locked(self.path / "locks" / key, wait=wait):
            yield

    @contextmanager
    def choosing(self) -> Iterator[None]:
        """Nothing is cleaned away while the block runs: in it a run records which artifact it will use."""
        make_place(self.path)
        with locked(self.path / "locks" / "clean", shared=True):
            yield

    def work(self, key: str) -> Path:
        """The folder for the checkpoints of this key, made when missing; it goes when the artifact is there."""
        make_place(self.path)
        folder = self.path / "work" / key
        make_dirs(folder)
        return folder

    def draft(self, key: str, **about: Any) -> Draft:
        """An empty draft for this key; the caller holds its lock. `about` goes into the manifest: see `Draft.about`."""
        make_place(self.path)
        folder = self.path / "drafts" / key
        remove(folder)
        make_dirs(folder)
        facts = {"kind": "", "step": "", "stage": "", "settings": {}, "code": {}, "inputs": {}} | about
        return Draft(folder, self.work(key), self.path, key, facts)

    def sweep(self) -> None:
        """Remove the drafts of processes that died. One that lives holds its key's lock, and is left alone."""
        for folder in self._abandoned():
            self._undo_half_replaced(folder)
            remove(folder)

    def _abandoned(self) -> Iterator[Path]:
        """The drafts of processes that died, each with its key's lock held."""
        for folder in (self.path / "drafts").glob("*"):
            with suppress(BlockingIOError), self.lock(folder.name[:64], wait=False):
                yield folder

    def clean(self, *, dry_run: bool = False, keep: Collection[str] = ()) -> Cleaned:
        """Free what no version and no recent run needs: artifacts, and checkpoints that nobody will go on from.

        `keep` are the digests of the artifacts that published versions rest on; what those were made from stays too.
        Recent are living runs, and the last three of each recipe. A broken artifact stays, and with `keep` so do all
        others: it may be one of those, and what it was made from is not known. With `dry_run` it only tells. Raises
        RecipeError for a folder that is no store.
        """
        if not self.path.is_dir():
            return Cleaned(0, ())
        check_place(self.path)
        left = freed_by(list(self._abandoned())) if dry_run else 0
        if not dry_run:
            self.sweep()
        with locked(self.path / "locks" / "clean"):
            needed = runs.recent_keys(self.runs)
            readable, broken = self.readable()
            artifacts = {artifact.key: artifact for artifact in readable}
            open_ends = [a.key for a in artifacts.values() if a.digest in keep]
            while open_ends:
                key = open_ends.pop()
                needed.add(key)
                inputs = artifacts[key].manifest["inputs"].values() if key in artifacts else ()
                open_ends += [told["key"] for told in inputs if told["key"] not in needed]
            idle = [folder for folder in (self.path / "work").iterdir() if folder.name not in needed]
            idle += (self.path / "tokens").glob("[!.]*")  # texts cut into tokens: made again when they are wanted
            gone = [a for key, a in artifacts.items() if key not in needed and not (broken and keep)]
            size = left + freed_by([*idle, *(artifact.path for artifact in gone)])
            cleaned = Cleaned(size, tuple(gone), tuple(broken))
            if not dry_run:
                for folder in (*idle, *(artifact.path for artifact in gone)):
                    folder.rename(self.path / "drafts" / f"{folder.name}.{folder.parent.name}")
        if not dry_run:
            self.sweep()
        return cleaned

    def _undo_half_replaced(self, folder: Path) -> None:
        """A kill between the two renames of a replacement leaves the old artifact aside: put it back."""
        final = self.path / "artifacts" / folder.name[:64]
        if folder.name.endswith(".old") and not final.exists():
            with suppress(FileExistsError):
                publish_dir(folder, final)
