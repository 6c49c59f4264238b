"""fp32 or bf16, decided once per machine and library version by a short measurement.

bf16 is several times faster where the processor multiplies it directly, and many times slower where it is emulated, so
neither a table of processors nor a default would do. The decision is kept in the cache folder; a training notes it in
its checkpoint and numbers, and a resume uses what was noted.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Literal

import torch
from torch import nn

from danlu.core.digests import cache_dir
from danlu.core.errors import DanluError
from danlu.core.files import write_atomic
from danlu.core.machine import facts

Precision = Literal["fp32", "bf16"]

_WORTH = 1.15
"""bf16 loses digits, so it must win at least this factor."""


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context for the model's pass; in bf16 the weights themselves stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def decide(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """The precision to train in; `auto` is measured once per processor, thread count and torch version."""
    if wanted != "auto":
        return wanted
    key = f"{_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    known = _read()
    if key not in known:
        known[key] = round(speedup(device), 2)
        with suppress(OSError, DanluError):
            cache_dir().mkdir(parents=True, exist_ok=True)
            write_atomic(cache_dir() / "precision.json", json.dumps(known, indent=1))
    return "bf16" if known[key] >= _WORTH else "fp32"


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} {facts()['cpu']}"


def _read() -> dict[str, float]:
    with suppress(OSError, ValueError, AttributeError, TypeError):
        known = json.loads((cache_dir() / "precision.json").read_text("utf-8"))
        return {key: float(value) for key, value in known.items()}
    return {}


def speedup(device: torch.device) -> float:
    """How many times faster bf16 takes a small encoder's layer through forward and backward; takes about 0.3 s."""
    layer = nn.Sequential(nn.Linear(384, 1536), nn.GELU(), nn.Linear(1536, 384), nn.LayerNorm(384)).to(device)
    inputs = torch.zeros(512, 384, device=device)
    fp32, bf16 = (min(_seconds(layer, inputs, p, device) for _ in range(5)) for p in ("fp32", "bf16"))
    return fp32 / bf16


def _seconds(layer: nn.Module, inputs: torch.Tensor, precision: Precision, device: torch.device) -> float:
    began = time.perf_counter()
    with autocast(precision, device):
        total = layer(inputs).float().sum()
    total.backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
