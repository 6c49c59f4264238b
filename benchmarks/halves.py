"""A step of fine-tuning minilm on movie-snippets with its batch in halves, beside the same step with the batch whole.

    python benchmarks/halves.py               200 steps of 32 texts, each taken all ways
    python benchmarks/halves.py --steps 50

Halves are learnt twice: by torch's own operations, and with the loops in C where those are there. All ways of a step
have the same texts, dropout aside, and take turns at being first. The figures are the ratio of all times and the median
of the ratios of the steps; the first ten steps are not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import closing, nullcontext
from pathlib import Path

from danlu.core.machine import LOOPS_SWITCH, tune_threads_env

tune_threads_env()  # before torch loads

import finetune_text
import torch
from finetune_text import BATCH, LR, Side

from danlu.blocks import loops
from danlu.blocks.allocator import keep_freed_memory
from danlu.blocks.halves import THREADS, Halves
from danlu.blocks.table_gradients import kept_gradients
from danlu.training.job import Job
from danlu.training.randomness import Stream, reseed
from danlu.training.run import Run
from danlu.training.settings import TrainSettings

WARM = 10


def step(run: Run, number: int) -> tuple[float, float]:
    """Seconds of a step, and of the processors' time."""
    wall, cpu = time.perf_counter(), time.process_time()
    run.step = number
    reseed(run.seed, Stream.STEP, number)
    for turn in run.turns:
        batches = run.draw()
        run.begin_turn(turn)
        for batch in batches:
            run.learn(batch)
        run.add_up()
        run.move()
    return time.perf_counter() - wall, time.process_time() - cpu


def by_torch(run: Run) -> Halves:
    """Halves that take no loop."""
    before = os.environ.get(LOOPS_SWITCH)
    os.environ[LOOPS_SWITCH] = "torch"
    try:
        return Halves(run.model)
    finally:
        os.environ.pop(LOOPS_SWITCH) if before is None else os.environ.update({LOOPS_SWITCH: before})


def taken(run: Run, ways: dict[str, Halves | None], number: int) -> dict[str, tuple[float, float]]:
    """The times of a step by each way, another one first each time."""
    names, found = list(ways), {}
    for name in names[number % len(names) :] + names[: number % len(names)]:
        halves = run.halves = ways[name]
        looped = halves is not None and name == "halves, loops in C"
        for weight in run.model.parameters():  # torch's fused AdamW does not count what it does to them
            torch.autograd.graph.increment_version(weight)
        [optimizer] = run.optimizers.values()
        with optimizer.beside(halves) if looped else nullcontext():
            found[name] = step(run, number)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    if torch.get_num_threads() != THREADS:
        raise SystemExit(f"batches are cut in two with two threads, here are {torch.get_num_threads()}")
    with tempfile.TemporaryDirectory() as folder:
        side = Side("danlu", finetune_text.prepare(Path(folder)))
    settings = TrainSettings(epochs=3, batch_size=BATCH, lr=LR, precision="bf16")
    module, task = side._danlu_module(0), side.data.task
    run = Run(Job(module, task, side.processor, side.train, settings=settings, backbone=side.backbone), "bf16")
    keep_freed_memory()
    times = []
    with kept_gradients(run.model, run.optimizers.values()), closing(by_torch(run)) as plain:
        ways: dict[str, Halves | None] = {"whole": None, "halves": plain}
        with closing(Halves(run.model)) as looped:
            if loops.available():
                ways["halves, loops in C"] = looped
            for number in range(given.steps + WARM):
                found = taken(run, ways, number)
                if number >= WARM:
                    times.append(found)
    for k, what in enumerate(("time", "processor time")):
        for name in ways:
            mean = sum(one[name][k] for one in times) / len(times)
            whole = sum(one["whole"][k] for one in times) / len(times)
            ratio = statistics.median(one["whole"][k] / one[name][k] for one in times)
            print(f"{what}, {name}: {mean * 1e3:.1f} ms a step", end="")
            print("" if name == "whole" else f"; {whole / mean:.3f} x whole, median of the steps {ratio:.3f} x")


if __name__ == "__main__":
    main()
