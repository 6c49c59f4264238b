"""Two processes of one thread each beside one process of two threads: examples per second of the same training.

    python benchmarks/ranks.py                         a BERT of 4 × 256, three rounds of 30 steps of 32 blocks
    python benchmarks/ranks.py --steps 6 --rounds 1    the short form
    python benchmarks/ranks.py --shard                 each process holds its share of the weights alone (FSDP2)

The model and its blocks of 128 tokens are those of `pretrain_text.py`, fp32 unless told otherwise. The sides take
turns, each in processes of its own; seconds are those of the steps alone. Asked: at least 0.9 times as many examples
in two processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pretrain_text as text
import torch

from danlu.core.events import Events
from danlu.core.launch import SHARD_ENV, Place, environment
from danlu.plugins.tasks.masked_lm import MaskedLm
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed
from danlu.training.ranks import joined, present
from danlu.training.settings import TrainSettings


def train(steps: int, precision: str) -> float:
    """Examples per second, of all ranks together."""
    processor: Any = text.Words()
    task = MaskedLm(length=text.LENGTH)
    examples = [task.block(ids, segments, processor) for ids, segments in text.documents(steps * text.BATCH)]
    reseed(0, Stream.START)
    settings = TrainSettings(epochs=1, batch_size=text.BATCH, precision=precision, lr=1e-4)  # type: ignore[arg-type]
    module = text.module("masked", own=True)
    job = Job(module, task, processor, examples, settings=settings, events=Events.silent(), ranks=present())
    return float(fit(job).numbers["examples_per_s"])


def one(steps: int, precision: str) -> None:
    """This process' part; rank 0 tells."""
    place = Place.here()
    if place is None:
        torch.set_num_threads(2)
        print(train(steps, precision))
        return
    torch.set_num_threads(1)
    with joined(place):
        speed = train(steps, precision)
    if place.rank == 0:
        print(speed)


def side(ranks: int, options: list[str], *, shard: bool) -> float:
    """Start that many processes; returns what the first told."""
    command = [sys.executable, str(Path(__file__)), *options, "--part"]
    env = dict(os.environ) | {"OMP_NUM_THREADS": "2"} | ({SHARD_ENV: "1"} if shard else {})
    if ranks > 1:
        env |= environment(ranks, 600.0) | {"DANLU_LAUNCHER": "0", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(command, env=env | ({"RANK": str(k)} if ranks > 1 else {}), stdout=subprocess.PIPE, text=True)
        for k in range(ranks)
    ]
    told = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(1)
    return float(told[0].splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        one(given.steps, given.precision)
        return 0
    options = ["--steps", str(given.steps), "--precision", given.precision]
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(given.rounds):
        for ranks, told in found.items():
            told.append(side(ranks, options, shard=given.shard and ranks > 1))
            print(f"{ranks} processes: {told[-1]:.1f} examples/s", flush=True)
    ratios = [two / alone for alone, two in zip(found[1], found[2], strict=True)]
    print(json.dumps({"median": {k: statistics.median(v) for k, v in found.items()}, "ratios": ratios}))
    middle = statistics.median(ratios)
    print(f"two processes of one thread: {middle:.2f} × of one process of two threads (asked: 0.9)")
    return 0 if middle >= 0.9 else 1


if __name__ == "__main__":
    raise SystemExit(main())
