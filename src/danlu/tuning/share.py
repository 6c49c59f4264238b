"""How many candidates train at once where nobody says: what the cores and the memory of this machine suit."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from danlu.core import machine
from danlu.core.errors import DanluError
from danlu.core.resolve import resolve
from danlu.tuning.space import Space

_CORES = 2
"""Physical cores that a job wants."""
_PROCESS = 1.5e9
"""Bytes of a process: libraries, data, and a small model with its activations."""
_TIMES = 8
"""Bytes of a training for one byte of a file of weights: they may be half as wide there; gradients, two moments."""


def suited(here: Space, trials: int | None = None) -> tuple[int, str]:
    """How many jobs suit this machine, and why, in a line; `trials` is how many candidates there may be."""
    one = "one candidate trains at a time: "
    if _on_gpu(here):
        return 1, f"{one}all would share the GPU; --jobs N trains N at once"
    if here.own["backbone"] is None:
        return 1, f"{one}it is not known how large the model of another step is; --jobs N trains N at once"
    cores, free, need = machine.physical_cores(), machine.available_memory(), _PROCESS + _TIMES * _weights(here)
    count = max(1, min(cores // _CORES, int(free // need)))
    why = (
        f"{cores} physical core{'s' * (cores != 1)} and {free / 1e9:.1f} GB free, a job wants {_CORES} and "
        f"{need / 1e9:.1f} GB"
    )
    if trials is not None and 1 < count > trials:
        return trials, f"no more train at once than there are to try, {trials}; --jobs N trains N at once"
    if count == 1:
        return 1, f"{one}{why}; --jobs N trains N at once"
    return count, f"{count} candidates train at once: {why}; --jobs 1 trains one after another"


def _on_gpu(here: Space) -> bool:
    device = here.own["device"]
    return device in ("cuda", "mps") or (device == "auto" and torch.cuda.is_available())


def _weights(here: Space) -> int:
    """Bytes of the largest files of weights that a candidate starts from."""
    return max((_bytes(here.own["backbone"] if v is None else v) for v in here.backbones.values()), default=0)


def _bytes(backbone: Any) -> int:
    choice: Any = resolve("backbones", backbone, "backbone", []) if isinstance(backbone, str | dict) else backbone
    with suppress(DanluError):  # what is not there is told by the trial that misses it
        folder = choice.make("backbone").folder()
        return sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder else 0
    return 0
