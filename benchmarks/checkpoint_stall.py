"""How long does a training stand still for a checkpoint, written in the step or beside it?

python benchmarks/checkpoint_stall.py                  22 million weights, 5 checkpoints each
python benchmarks/checkpoint_stall.py --millions 1     the short form
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from danlu.core.events import Events
from danlu.training.checkpoint import Checkpoints, State
from danlu.training.saves import Background

AWAY = 3.0  # seconds of training between two checkpoints


def state(step: int, millions: float) -> State:
    """Weights and the two numbers AdamW keeps of each, in tensors of half a million."""
    weights = {f"w{k}": torch.randn(500_000) for k in range(max(1, int(millions * 2)))}
    moments = {
        f"{name}/{what}": torch.randn_like(w) for name, w in weights.items() for what in ("exp_avg", "exp_avg_sq")
    }
    return State(step, {}, weights, moments)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, default=22.0)
    parser.add_argument("--saves", type=int, default=5)
    given = parser.parse_args()
    one, square = state(0, given.millions), torch.randn(500, 500)
    stalls: dict[str, list[float]] = {"in the step": [], "beside it": []}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), "stall", Events.silent())
        background = Background(checkpoints)
        for k in range(given.saves):
            for how, save in (("in the step", checkpoints.save), ("beside it", background.save)):
                one.step = 2 * k + (how == "beside it")
                began = time.perf_counter()
                save(one)
                stalls[how].append(time.perf_counter() - began)
                until = time.monotonic() + AWAY
                while time.monotonic() < until:
                    square = torch.tanh(square @ square)
        background.wait()
        background.close()
    for how, seconds in stalls.items():
        print(
            f"{how}: {1000 * statistics.median(seconds):.0f} ms (median of {given.saves}, {given.millions:g} M weights)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
