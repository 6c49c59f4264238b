"""A step of fine-tuning minilm on movie-snippets with its batch in halves, beside the same step with the batch whole.

    python benchmarks/halves.py               200 steps of 32 texts, each taken both ways
    python benchmarks/halves.py --steps 50

Both ways of a step have the same texts, dropout aside, and take turns at being first. The figures are the ratio of all
times and the median of the ratios of the steps; the first ten steps are not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from danlu.core.machine import tune_threads_env

tune_threads_env()  # before torch loads

import finetune_text
import torch
from finetune_text import BATCH, LR, Side

from danlu.blocks.allocator import keep_freed_memory
from danlu.blocks.table_gradients import kept_gradients
from danlu.training.job import Job
from danlu.training.randomness import Stream, reseed
from danlu.training.run import Run
from danlu.training.settings import TrainSettings
from danlu.training.side_by_side import halves_of

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        side = Side("danlu", finetune_text.prepare(Path(folder)))
    settings = TrainSettings(epochs=3, batch_size=BATCH, lr=LR, precision="bf16")
    module, task = side._danlu_module(0), side.data.task
    run = Run(Job(module, task, side.processor, side.train, settings=settings, backbone=side.backbone), "bf16")
    keep_freed_memory()
    times: list[tuple[tuple[float, float], tuple[float, float]]] = []
    with kept_gradients(run.model, run.optimizers.values()), halves_of(run):
        halves = run.halves
        if halves is None:
            raise SystemExit(f"batches are cut in two with two threads, here are {torch.get_num_threads()}")
        for number in range(given.steps + WARM):
            taken = {}
            for cut in (True, False) if number % 2 else (False, True):
                run.halves = halves if cut else None
                taken[cut] = step(run, number)
            if number >= WARM:
                times.append((taken[False], taken[True]))
    for k, what in enumerate(("time", "processor time")):
        whole, cut = (sum(both[way][k] for both in times) / len(times) for way in (0, 1))
        ratio = statistics.median(both[0][k] / both[1][k] for both in times)
        print(f"{what}: whole {whole * 1e3:.1f} ms a step, in halves {cut * 1e3:.1f}", end="; ")
        print(f"{whole / cut:.3f} x, median of the steps {ratio:.3f} x")


if __name__ == "__main__":
    main()
