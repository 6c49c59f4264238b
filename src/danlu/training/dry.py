"""How long a training will take, from a step that changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from danlu.training import memory
from danlu.training.run import Run

_LEAST = 20
"""Steps from which on the time is told; the dry step costs as much as two of them."""
_LOOKED_AT = 100
_FORWARD = 1 / 3
"""The share of a step that its forward pass takes: backward takes about twice as long."""


@dataclass(frozen=True)
class Expected:
    """Bytes, see `memory.estimate`, and the seconds that the steps still to do will take; None where not measured."""

    memory: Mapping[str, int]
    seconds: float | None


def tell(run: Run, done: int = 0) -> Expected:
    """Say how long the steps after `done` will take, and how many bytes, about.

    Nothing is said of the time where few steps are left, nor for a model that does not descend or is shared by ranks.
    """
    bytes_of, left = memory.tell(run), run.steps - done
    if left < _LEAST or run.taught is not None or run.ranks.sharded:
        return Expected(bytes_of, None)
    step = seconds(run)
    looks = left // run.watch.every if run.job.validation else 0
    total = left * step + looks * _FORWARD * step * len(run.job.validation) / run.expected
    more = bytes_of["gradients"] + bytes_of["optimizer"] + bytes_of["activations"]
    run.events.note(
        f"about {spoken(total)} on this machine: {left:,} steps of {spoken(step)}; "
        f"about {more / 1e6:,.0f} MB of memory beside the weights, {bytes_of['free'] / 1e6:,.0f} are free"
    )
    return Expected(bytes_of, total)


def seconds(run: Run) -> float:
    """Forward and backward of a step whose size is nearest to the mean, the second time.

    In eval mode, so that no buffer moves; gradients go nowhere, nothing random is drawn that a step would miss.
    """
    among = range(min(run.feed.per_epoch, _LOOKED_AT))
    sizes = [run.feed.work(run.feed.chosen(step), 0.0).tokens for step in among]
    mean = sum(sizes) / len(sizes)
    step = min(among, key=lambda k: abs(sizes[k] - mean))
    weights = list(run.trained().values())
    training: list[nn.Module] = [part for part in run.model.modules() if part.training]
    run.model.eval()
    try:
        for _ in range(2):
            began = time.perf_counter()
            for batch in run.feed.made(run.feed.chosen(step), step):
                loss = run.passed(run.placed(batch)).sum()
                if loss.requires_grad:
                    torch.autograd.grad(loss, weights, allow_unused=True)
            if run.device.type == "cuda":
                torch.cuda.synchronize(run.device)
            taken = time.perf_counter() - began
    finally:
        for part in training:
            part.training = True
    return taken * len(run.turns)


def spoken(seconds: float) -> str:
    """A time as people say it: 0.17 s, 40 seconds, 9 minutes, 2.5 hours."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"
