"""Checkpoints that survive a kill at any moment, without pickle.

A checkpoint is a folder: tensors as safetensors, everything else as `checkpoint.json`, which also holds the SHA-256 of
every tensor file and of itself. It is written under a temporary name, flushed to disk and renamed. The name carries the
step, so there is no pointer that could be stale. At least the last two good ones are kept: a damaged one (a disk that
lied, a flipped byte) costs one interval, not the training. Each holds the best weights so far too.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.core.files import disk_faults, link_or_copy, make_dirs, publish_dir, sha256_bytes, sha256_file, temp_beside

FORMAT = 1


@dataclass
class State:
    """What a training is at the end of a step: all it needs to go on as if nothing had happened.

    `notes` are JSON values; `kept` is a tree of dicts, lists, JSON values and tensors; the others map names to tensors.
    `best` is what did best on the validation set, after `best_step` steps.
    """

    step: int
    notes: dict[str, Any]
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    kept: dict[str, Any] = field(default_factory=dict)
    best_step: int | None = None
    best: Mapping[str, Tensor] = field(default_factory=dict)

    def copied(self) -> State:
        """The same in memory of its own, for a writer beside the training; nobody writes into `best`, so it is shared.

        Tensors of a device come to the CPU.
        """
        cpu = torch.device("cpu")
        weights, optimizer, kept = (copied(part, cpu) for part in (self.weights, self.optimizer, self.kept))
        return replace(self, notes=copy.deepcopy(self.notes), weights=weights, optimizer=optimizer, kept=kept)


class Checkpoints:
    """The last `keep` checkpoints of one training in one folder; `identity` says which training."""

    def __init__(self, folder: Path, identity: str, events: Events, keep: int = 2) -> None:
        self._folder, self._identity, self._events, self._keep = folder, identity, events, keep
        self._good: list[Path] = []
        self._best: tuple[Path, str] | None = None
        make_dirs(folder)
        for leftover in folder.glob(".tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def latest(self) -> State | None:
        """The last good checkpoint, or None. A damaged one is passed over with a warning.

        Raises RecipeError when the folder holds checkpoints of another training.
        """
        found = self._newest_first()
        for place, folder in enumerate(found):
            try:
                record = json.loads((folder / "checkpoint.json").read_bytes())
                if record.pop("seal") != _seal(record):
                    raise ValueError("checkpoint.json was changed")
                changed = [name for name, sha256 in record["files"].items() if sha256_file(folder / name) != sha256]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
                changed, record = [f"{type(fault).__name__}: {fault}"], {}
            if changed:
                self._events.warn(f"the checkpoint {folder} is damaged ({', '.join(changed)}) and passed over")
                continue
            if (record["format"], record["identity"]) != (FORMAT, self._identity):
                mend = f"rm -r '{self._folder}', or give this training a folder of its own"
                raise RecipeError("it holds checkpoints of another training", where=str(self._folder), do=mend)
            self._good = found[place:]
            return _read(folder, record)
        return None

    def save(self, state: State) -> None:
        """Write a checkpoint and remove all others but the good ones before that are to be kept.

        Raises MachineError when the disk refuses; the checkpoints before are then as they were, and nothing is left.
        """
        final = self._folder / f"step-{state.step:010d}"
        temp = temp_beside(final)
        try:
            with disk_faults(final):
                temp.mkdir()
                best = self._write(temp, state)
            shutil.rmtree(final, ignore_errors=True)  # a damaged one that `latest` passed over
            publish_dir(temp, final)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        self._best = best and (final / best[0].name, best[1])
        self._good = [final, *(path for path in self._good if path != final)][: self._keep]
        with suppress(OSError):  # what can't be removed now is in nobody's way
            for old in set(self._newest_first()) - set(self._good):
                shutil.rmtree(old, ignore_errors=True)

    def leave(self, name: str, tensors: Mapping[str, Tensor]) -> Path:
        """Write tensors to a file beside the checkpoints, whole or not at all. Raises MachineError."""
        path = self._folder / name
        temp = temp_beside(path)
        try:
            with disk_faults(path):
                _write_tensors(temp, tensors)
                temp.replace(path)
        finally:
            temp.unlink(missing_ok=True)
        return path

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"), reverse=True)

    def _write(self, temp: Path, state: State) -> tuple[Path, str] | None:
        tensors: dict[str, Tensor] = {}
        tree = _without_tensors(state.kept, "kept", tensors)
        best = self._write_best(temp, state)
        files = {best[0].name: best[1]} if best else {}
        for name, group in {"weights": state.weights, "optimizer": state.optimizer, "kept": tensors}.items():
            files[f"{name}.safetensors"] = _write_tensors(temp / f"{name}.safetensors", group)
        record = {
            "format": FORMAT,
            "identity": self._identity,
            "step": state.step,
            "best_step": state.best_step,
            "notes": state.notes,
            "kept": tree,
            "files": files,
        }
        (temp / "checkpoint.json").write_text(json.dumps({**record, "seal": _seal(record)}, indent=1), "utf-8")
        return best

    def _write_best(self, temp: Path, state: State) -> tuple[Path, str] | None:
        """The best weights change seldom: those that the checkpoint before holds are linked, not written again."""
        if state.best_step is None:
            return None
        path = temp / f"best-{state.best_step:010d}.safetensors"
        if self._best and self._best[0].name == path.name:
            with suppress(FileNotFoundError):
                link_or_copy(self._best[0], path)
                return path, self._best[1]
        return path, _write_tensors(path, state.best)


def copied(tree: Any, device: torch.device) -> Any:
    """A tree of dicts and lists with its tensors copied to a device; other values stay."""
    if isinstance(tree, Tensor):
        return tree.detach().to(device, copy=True)
    if isinstance(tree, Mapping):
        return {key: copied(value, device) for key, value in tree.items()}
    return [copied(value, device) for value in tree] if isinstance(tree, list) else tree


def _seal(record: Mapping[str, Any]) -> str:
    return sha256_bytes(json.dumps(record).encode())


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors to a file and return its SHA-256. Raises OSError when the disk refuses."""
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as fault:
        code = re.search(r"os error (\d+)", str(fault))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from fault
    return sha256_file(path)


def _read(folder: Path, record: dict[str, Any]) -> State:
    best_step = record["best_step"]
    return State(
        step=record["step"],
        notes=record["notes"],
        weights=load_file(folder / "weights.safetensors"),
        optimizer=load_file(folder / "optimizer.safetensors"),
        kept=_with_tensors(record["kept"], load_file(folder / "kept.safetensors")),
        best_step=best_step,
        best={} if best_step is None else load_file(folder / f"best-{best_step:010d}.safetensors"),
    )


def _without_tensors(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """The tree in JSON values; its tensors are moved to `tensors`, each under the place where it was."""
    if isinstance(value, Tensor):
        tensors[place] = value.clone()  # a technique may keep one tensor in two places
        return {"tensor": place}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _without_tensors(v, f"{place}/{key}", tensors) for key, v in value.items()}}
    if isinstance(value, list | tuple):
        return [_without_tensors(v, f"{place}/{k}", tensors) for k, v in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place} is a {type(value).__name__}: a technique keeps tensors, JSON values, dicts and lists")


def _with_tensors(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_with_tensors(value, tensors) for value in tree]
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {key: _with_tensors(value, tensors) for key, value in tree["dict"].items()}
    return tree
