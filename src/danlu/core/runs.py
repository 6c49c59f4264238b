"""A record of each run: `<store>/runs/<id>/` with recipe.yaml, run.json and events.jsonl.

`run.json` is written whole at every change, so it is there after a kill. Its writer holds a lock that the kernel frees
with the process; a run that says `running` while its lock is free has died, whatever machine or container it was on.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from danlu.core.canonical import to_json
from danlu.core.errors import DanluError, MachineError, RecipeError
from danlu.core.events import EventLog, Events
from danlu.core.files import locked, make_dirs, write_atomic

_RECENT = 3  # runs of each recipe whose artifacts `danlu clean` leaves alone


@dataclass(frozen=True)
class Run:
    """What is known of one run."""

    path: Path
    status: str
    """`running`, `done`, `failed`, `interrupted` or `died`."""
    record: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def name(self) -> str:
        """The name of its recipe."""
        return str(self.record["name"])

    @property
    def steps(self) -> Mapping[str, Mapping[str, Any]]:
        """Step name → `{stage, status, key, digest, seconds}`, as far as it came."""
        steps: Mapping[str, Mapping[str, Any]] = self.record["steps"]
        return steps

    def events(self) -> Iterator[dict[str, Any]]:
        """What was said in it, in order; a line that a kill broke is left out."""
        with suppress(FileNotFoundError), (self.path / "events.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                with suppress(ValueError):
                    yield json.loads(line)


def all_runs(folder: Path) -> list[Run]:
    """Every run in a store's folder of runs, the newest first."""
    read = map(_read, folder.iterdir()) if folder.is_dir() else ()
    return sorted((run for run in read if run), key=lambda run: run.record["started"], reverse=True)


def find(folder: Path, prefix: str) -> Run:
    """The run whose id begins with `prefix`. Raises RecipeError when there is none, or more than one."""
    found = [run for run in all_runs(folder) if run.id.startswith(prefix)]
    if not found:
        raise RecipeError(f"there is no run {prefix!r}", where=str(folder), do="danlu runs")
    if len(found) > 1:
        ids = ", ".join(run.id for run in found[:5])
        raise RecipeError(f"{prefix!r} begins the ids of {len(found)} runs: {ids}", do="give more of its letters")
    return found[0]


def recent_keys(folder: Path) -> set[str]:
    """The keys of the artifacts that a living run, or one of the last three of each recipe, made or used."""
    seen: dict[str, int] = {}
    keys: set[str] = set()
    for run in all_runs(folder):
        seen[run.name] = seen.get(run.name, 0) + 1
        if run.status == "running" or seen[run.name] <= _RECENT:
            keys |= {str(step["key"]) for step in run.steps.values() if step.get("key")}
    return keys


def _read(path: Path) -> Run | None:
    try:
        record = json.loads((path / "run.json").read_bytes())
        status, _ = record["status"], record["started"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # it was killed before it began, or is none of ours
    if status == "running" and not _alive(path):
        status = "died"
    return Run(path, status, record)


def _alive(path: Path) -> bool:
    try:
        with locked(path / "lock", wait=False, shared=True):
            return False
    except BlockingIOError:
        return True
    except (OSError, MachineError):  # a store that may only be read: nobody can be asked
        return False


class Recorder:
    """Writes the record of the run that goes on."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record = path, record
        self._began = time.monotonic()

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def seconds(self) -> float:
        """Since it began."""
        return round(time.monotonic() - self._began, 3)

    def step(self, name: str, **facts: Any) -> None:
        """What is now known of a step."""
        self.record["steps"].setdefault(name, {}).update(facts)
        self._write()

    def end(self, status: str, error: BaseException | None = None) -> None:
        """How the run, and the step that was running, ended."""
        told = {"status": status, "seconds": self.seconds, "error": _told(error)}
        self.record |= told
        for step in self.record["steps"].values():
            if step.get("status") == "running":
                step["status"] = status
        with suppress(MachineError) if error else _nothing():
            self._write()

    def _write(self) -> None:
        write_atomic(self.path / "run.json", to_json(self.record, indent=1) + b"\n")


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _told(error: BaseException | None) -> dict[str, str] | None:
    if error is None:
        return None
    told = {"type": type(error).__name__, "what": str(error)}
    if isinstance(error, DanluError):
        told |= {"what": error.what, "where": error.where, "do": error.do, "text": str(error)}
    return told


@contextmanager
def recording(folder: Path, events: Events, recipe: str, **facts: Any) -> Iterator[Recorder]:
    """Record a run while the block runs: how it ends, and all that is said on `events`.

    `recipe` is the recipe's text; `facts` (its name, path, overrides) go into run.json.
    """
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    make_dirs(path)
    with locked(path / "lock"):
        started = datetime.now(UTC).isoformat()
        recorder = Recorder(
            path, {"status": "running", "started": started, "pid": os.getpid(), "steps": {}, "error": None, **facts}
        )
        write_atomic(path / "recipe.yaml", recipe)
        recorder._write()
        log = EventLog(path / "events.jsonl")
        try:
            with events.heard_by(log.on):
                yield recorder
        except BaseException as error:
            recorder.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error)
            raise
        else:
            recorder.end("done")
        finally:
            log.close()
