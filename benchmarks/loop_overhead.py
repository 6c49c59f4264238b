"""What does the loop itself cost a step? A model of one number, so that nearly all of a step is the loop.

    python benchmarks/loop_overhead.py                 2,000 steps, three rounds
    python benchmarks/loop_overhead.py --steps 200     the short form

Told are milliseconds a step, by the clock and by processor time: of the whole loop, and of the bare minimum in torch
(forward, backward, clip, a step of the optimizer) on the same batches, which any training pays. Asked: the difference
is at most 1 ms.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from danlu.contracts import Columns, Example, Head, Task
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.settings import TrainSettings

BATCH, FEW = 8, 30


class Numbers:
    """A processor of one number a row."""

    pad: ClassVar[dict[str, float]] = {}


class Fits(Task):
    """The square of the distance to a number."""

    def columns(self) -> Columns:
        return Columns(("x",), ("y",))

    def ask(self, row: Any) -> Any:
        return row["x"]

    def gold(self, row: Any) -> Any:
        return row["y"]

    def row(self, x: Any, answer: Any) -> Any:
        return {"x": x, "y": answer}

    def examples(self, row: Any, processor: Any) -> list[Example]:
        return [Example({"x": np.float32([row["x"]])}, {"y": np.float32(row["y"])})]

    def head(self) -> Head:
        return Head("input", 1)

    def loss(self, outputs: Any, batch: Any) -> Any:
        return (outputs["logits"][:, 0] - batch.targets["y"]).square()

    def encode(self, x: Any, processor: Any) -> list[Example]:
        return self.examples({"x": x, "y": 0.0}, processor)

    def decode(self, x: Any, examples: Any, outputs: Any, processor: Any) -> float:
        return float(outputs[0]["logits"][0])

    def sample(self, n: int) -> list[Any]:
        return [{"x": k / n, "y": 2 * k / n} for k in range(n)]


class Line(nn.Module):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": x @ self.weight}


def whole(steps: int) -> None:
    """The loop of Danlu."""
    task, processor = Fits(), Numbers()
    rows = [example for row in task.sample(BATCH * 64) for example in task.examples(row, processor)]
    settings = TrainSettings(precision="fp32", steps=steps, batch_size=BATCH, lr=0.01, device="cpu")
    fit(Job(Line(), task, processor, rows, settings=settings))  # type: ignore[arg-type]


def bare(steps: int) -> None:
    """The same in plain torch: nothing is drawn, watched, counted or told."""
    task, model = Fits(), Line()
    rows = [example for row in task.sample(BATCH) for example in task.examples(row, None)]
    batch = task.collate(rows, Numbers()).map(torch.from_numpy)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        (task.loss(model(**batch.inputs), batch).sum() / BATCH).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def spent(work: Callable[[int], None], steps: int) -> tuple[float, float]:
    """Milliseconds a step, by the clock and of the processor; what comes before the first step is taken off."""
    found = []
    work(FEW)
    for count in (FEW, FEW + steps):
        clock, cpu = time.perf_counter(), time.process_time()
        work(count)
        found.append((time.perf_counter() - clock, time.process_time() - cpu))
    (clock, cpu), (clocks, cpus) = found
    return 1000 * (clocks - clock) / steps, 1000 * (cpus - cpu) / steps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float]]] = {"whole": [], "bare": []}
    for _ in range(given.rounds):
        found["whole"].append(spent(whole, given.steps))
        found["bare"].append(spent(bare, given.steps))
    middle = {name: [statistics.median(values) for values in zip(*told, strict=True)] for name, told in found.items()}
    for name, (clock, cpu) in middle.items():
        print(f"{name}: {clock:.3f} ms a step, {cpu:.3f} ms of the processor")
    over = [a - b for a, b in zip(middle["whole"], middle["bare"], strict=True)]
    print(f"the loop itself: {over[0]:.3f} ms a step, {over[1]:.3f} ms of the processor (asked: 1 ms)")
    return 0 if over[0] <= 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
