"""Which trainings learn their batches as two halves at once (`blocks/halves.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import torch

from danlu.blocks import halves
from danlu.blocks.halves import Halves
from danlu.blocks.row_adamw import RowAdamW
from danlu.contracts import Method
from danlu.training.precision import DTYPES
from danlu.training.run import Run

_BETWEEN = frozenset({"start", "draw", "before_step", "after_step", "answering", "finish"})
"""The moments at which a technique has nothing to do with a pass."""


@contextmanager
def halves_of(run: Run) -> Iterator[None]:
    """Within the block `run.halves` is what learns a batch as two halves, where that may be; a thread ends with it."""
    if not _may(run):
        yield
        return
    with closing(Halves(run.model)) as both, ExitStack() as beside:
        for optimizer in run.optimizers.values():
            if isinstance(optimizer, RowAdamW):
                beside.enter_context(optimizer.beside(both))
        run.halves = both
        try:
            yield
        finally:
            run.halves = None


def _may(run: Run) -> bool:
    """In bf16 on a CPU with two threads, for a model that allows it and a task that judges each example by itself.

    Nothing may look at a pass or change it: techniques, models beside, recomputed activations, wrapped layers.
    """
    here = run.device.type == "cpu" and torch.get_num_threads() == halves.THREADS and run.ranks.world == 1
    if not here or DTYPES[run.precision] != halves.NARROW or run.taught is not None:
        return False
    method, alone = run.job.method, run.task.gives.get("loss") != "contrastive"
    plain = len(run.turns) == 1 and not run.beside and not run.settings.checkpointing
    unwrapped = method is None or type(method).wrap is Method.wrap
    between = all(_BETWEEN.issuperset(technique.moments) for technique in run.techniques)
    return alone and plain and unwrapped and between and halves.allowed(run.model)
