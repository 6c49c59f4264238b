"""`batch_size: auto`: the largest batch that fits into memory, by an estimate and then by trying it."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import nn

from danlu.core.errors import MachineError
from danlu.training import guards, memory
from danlu.training.job import Job, lengths
from danlu.training.precision import Precision
from danlu.training.ranks import ALONE
from danlu.training.run import Run

SPARE = 0.8
"""The share of the free memory that may be used: the estimate leaves out dropout's masks and what techniques add."""
_LONGEST = 10.0
"""Seconds of a pass from which on no larger batch is tried: no step should take longer to be read, or to be stopped."""


def find(job: Job, precision: Precision) -> tuple[int, int]:
    """`batch_size` and `accumulate` for a job that leaves the first to the machine; its module is left as it was.

    Batches of 1, 2, 4 … of the longest examples go forward and backward, as long as the estimate says that twice as
    many fit and memory does not run out. With `per_update` the size is the largest divisor of it that fits; without, a
    power of two, at most as many as there are. Both are of all ranks together. Raises MachineError where not one fits.
    """
    own = {"batch_size": 1, "accumulate": 1}
    settings, world = job.settings.model_copy(update=own), job.ranks.world
    run = Run(replace(job, settings=settings, ranks=ALONE, work=None), precision)
    per_update = job.settings.per_update
    if run.taught is not None:
        return 32, job.settings.accumulate
    most = -(-min(per_update or len(job.train), len(job.train)) // world)
    fits, seconds = _tried(run, min(most, _estimated(run)))
    if not fits:
        raise MachineError("not one example fits into memory", where="batch_size", do="a smaller model or max_length")
    size = fits * world
    divisors = [k for k in range(1, size + 1) if per_update and per_update % k == 0]
    size = divisors[-1] if divisors else size
    accumulate = per_update // size if per_update else job.settings.accumulate
    job.events.note(
        f"batches of {size}: the largest that fit, of {accumulate} an update (the longest {fits} examples take "
        f"{seconds:.2g} s forward and backward)"
    )
    return size, accumulate


def _estimated(run: Run) -> int:
    """How many of the longest examples fit by the estimate; at least 1."""
    found = memory.estimate(run)
    free = SPARE * found["free"] - found["gradients"] - found["optimizer"]
    return max(1, int(free // max(1, found["activations"])))


def _tried(run: Run, most: int) -> tuple[int, float]:
    """The largest power of two, at most `most`, of the longest examples that went through, and its seconds; else 0."""
    long = lengths(run.job.train, run.job.processor)
    longest = sorted(range(len(long)), key=lambda k: -long[k])
    training: list[nn.Module] = [part for part in run.model.modules() if part.training]
    run.model.eval()
    size, fits, seconds = 1, 0, 0.0
    try:
        while size <= most and seconds < _LONGEST:
            seconds = _pass(run, longest[:size])
            size, fits = 2 * size, size
    except (MemoryError, RuntimeError) as fault:
        if not guards.out_of_memory(fault):
            raise
    finally:
        for part in training:
            part.training = True
        if run.device.type == "cuda":
            torch.cuda.empty_cache()
    return fits, seconds


def _pass(run: Run, places: list[int]) -> float:
    """Seconds of forward and backward in eval mode; gradients go nowhere."""
    began = time.perf_counter()
    batch = run.placed(run.task.collate([run.job.train[k] for k in places], run.job.processor))
    loss = run.passed(batch).sum()
    if loss.requires_grad:
        torch.autograd.grad(loss, list(run.trained().values()), allow_unused=True)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    return time.perf_counter() - began
