"""Looking at the validation set while training: when, what was best, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

Better = Literal["higher", "lower"]


@dataclass
class Watch:
    """The looks of one training: `(steps done, number)` each. `every` is in steps, `patience` in looks."""

    every: int
    steps: int
    better: Better = "lower"
    patience: int | None = None
    history: list[tuple[int, float]] = field(default_factory=list)
    best_weights: Mapping[str, Tensor] = field(default_factory=dict)

    def due(self, done: int) -> bool:
        """Whether to look after `done` steps: at every `every`-th, and at the end."""
        return done % self.every == 0 or done == self.steps

    def add(self, done: int, number: float) -> bool:
        """Note a look; returns whether it is the best so far (the earlier of two equal ones stays)."""
        self.history.append((done, number))
        return self.best == (done, number)

    @property
    def best(self) -> tuple[int, float] | None:
        """The best look, or None; NaN is never better."""
        sign = -1 if self.better == "higher" else 1
        ranked = [(sign * number, done, number) for done, number in self.history if not math.isnan(number)]
        return min(ranked)[1:] if ranked else None

    @property
    def exhausted(self) -> bool:
        """Whether `patience` looks have passed without a better one."""
        if self.patience is None or not self.history:
            return False
        done = self.best[0] if self.best else 0
        return sum(step > done for step, _ in self.history) >= self.patience

    def restore(self, looks: list[list[float]], best_weights: Mapping[str, Tensor]) -> None:
        """Give back what a checkpoint held."""
        self.history = [(int(step), float(number)) for step, number in looks]
        self.best_weights = best_weights
