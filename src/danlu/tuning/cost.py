"""What a training costs in time and memory, from a few passes of its backbone on this machine.

A training step is three forward passes (backward takes about twice as long as forward; Kaplan et al., 2020).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from danlu import draft
from danlu.blocks import memory
from danlu.blocks.tensors import to_torch
from danlu.contracts import Example, Task, iterate_rows
from danlu.core.errors import DataError
from danlu.core.plan import Step
from danlu.core.resolve import Choice
from danlu.training.job import lengths

SAMPLE = 300
"""Rows that are looked at."""
FEW_STEPS = 20
"""Steps of `few_shot`, whose recipe need name no length."""
_PROBED = 8
_FULL = 64
"""Tokens below which the longest text is not taken for one that was cut."""
_FROZEN = 2 / 3
"""Of a training step what is left where the backbone's own weights get no gradient (forward, and back through it)."""
_OPTIMIZER = 8
"""Bytes of AdamW's state for a weight that moves: two float32 moments."""


def of(chosen: Choice, task: Task, table: pa.Table, step: Step, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds and megabytes of the training with all weights (`full`), with a small part of them (`part`), and of
    `few_shot`. Raises DataError where not one row can be learnt from."""
    backbone = chosen.make("backbone")
    rows = list(iterate_rows(table.slice(0, SAMPLE)))
    folder = backbone.folder()
    processor = backbone.processor(folder) if folder else backbone.learn(map(task.material, rows))
    with TemporaryDirectory() as scratch:
        examples = _examples(task, rows, processor, Path(scratch))
        module, _ = backbone.start(task.head(), processor)
        module.eval()
        long = lengths(examples, processor)
        order = np.argsort(long)
        middle = [examples[k] for k in order[len(order) // 2 :][:_PROBED]]
        forward = _forward(module, task, middle, processor) / len(middle)
        longest = to_torch(task.collate([examples[k] for k in order[-2:]], processor), torch.device("cpu"))
    kept = memory.kept_bytes(lambda: task.forward(module, longest), module) / min(2, len(examples))
    own, weights = step.stage.settings, sum(w.numel() for w in module.parameters())
    size = 32 if own["batch_size"] == "auto" else own["batch_size"]
    epochs = own["epochs"] or (None if own["steps"] else 2.0)
    update, there = size * own["accumulate"], facts["train_rows"] * len(examples) / len(rows)
    wanted = [there * epochs] if epochs else []
    seen = min([*wanted, own["steps"] * update] if own["steps"] else wanted)
    seconds, few = 3 * forward * seen, 3 * forward * FEW_STEPS * min(size, there)
    whole, part = weights * (4 + 4 + _OPTIMIZER) + kept * size, weights * 4 + kept * size
    return {
        "pretrained": folder is not None,
        "longer": " ".join(
            [f"{step.name}.epochs=null"] * bool(own["epochs"]) + [f"{step.name}.steps={draft.MIN_UPDATES}"]
        ),
        "updates": math.ceil(seen / update),
        "seconds": {"full": seconds, "part": seconds * _FROZEN, "few_shot": few},
        "memory_mb": {"full": whole / 1e6, "part": part / 1e6, "few_shot": whole / 1e6},
        "cut": float(np.mean(long == long.max()))
        if len(long) and long.max() > long.min() and long.max() >= _FULL
        else 0.0,
    }


def _examples(task: Task, rows: Sequence[Any], processor: Any, scratch: Path) -> Sequence[Example]:
    """As a training makes them: packed across rows where the task does so."""
    packed = task.pack(lambda: iter(rows), processor, scratch, ("advice",), lambda done: None)
    examples = packed if packed is not None else [one for row in rows for one in task.examples(row, processor)]
    if not len(examples):
        raise DataError(f"none of the first {len(rows)} rows gives anything to learn from")
    return examples


def _forward(module: nn.Module, task: Task, examples: Sequence[Example], processor: Any) -> float:
    """Seconds of a forward pass of the examples, the best of three."""
    batch = to_torch(task.collate(examples, processor), torch.device("cpu"))
    times = []
    with torch.no_grad():
        for _ in range(4):
            began = time.perf_counter()
            task.forward(module, batch)
            times.append(time.perf_counter() - began)
    return min(times[1:])
