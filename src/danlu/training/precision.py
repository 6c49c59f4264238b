"""fp32, bf16 or fp16; between the first two it is decided once per machine and library version by a short measurement.

bf16 is several times faster where the processor multiplies it directly, and many times slower where it is emulated, so
neither a table of processors nor a default would do. The decision is kept in the cache folder; a training notes it in
its checkpoint and numbers, and a resume uses what was noted.
"""

from __future__ import annotations

import time
from typing import Literal

import torch
from torch import nn

from danlu.training.measured import once

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_WORTH = 1.15
"""bf16 loses digits, so it must win at least this factor."""


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context for the model's pass; the weights themselves stay fp32."""
    lower = precision != "fp32"
    return torch.autocast(device.type, dtype=DTYPES[precision] if lower else torch.bfloat16, enabled=lower)


def decide(wanted: Literal["auto"] | Precision, device: torch.device) -> Precision:
    """The precision to train in; `auto` is measured once per processor, thread count and torch version."""
    if wanted != "auto":
        return wanted
    ratio = once("precision.json", device, lambda: round(speedup(device), 2))
    return "bf16" if ratio >= _WORTH else "fp32"


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
