"""What was measured of this machine, once per processor, thread count and torch version, in the cache folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from danlu.core.digests import cache_dir
from danlu.core.errors import DanluError
from danlu.core.files import write_atomic
from danlu.core.machine import facts


def once(file: str, device: torch.device, measure: Callable[[], float], *, of: str = "") -> float:
    """The number kept in `file` for this machine, else what `measure` gives, which is then kept; `of` is what it is of.

    A cache that can't be read or written is no fault.
    """
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} {facts()['cpu']}"
    key = f"{of}{named}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    path = cache_dir() / file
    known = _read(path)
    if key not in known:
        known[key] = measure()
        with suppress(OSError, DanluError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(known, indent=1))
    return known[key]


def _read(path: Path) -> dict[str, float]:
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return {key: float(value) for key, value in json.loads(path.read_text("utf-8")).items()}
    return {}
