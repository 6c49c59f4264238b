"""What a training says of itself: losses, learning rate, speed; and the stop when a number is not finite.

Reading a number from a GPU waits for all that was asked of it. So losses are left on the device and read together,
every `WAIT` steps there and every step on a CPU; nothing is saved before they were read.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from danlu.core.events import Events
from danlu.training import guards
from danlu.training.throughput import Work

WAIT = 20
_POINTS = 50
"""Points of the loss curve that is kept."""


class Pulse:
    """The numbers of one training of `steps` steps; its loss is that of the first turn. `notes` survives a resume."""

    def __init__(self, events: Events, steps: int, device: torch.device) -> None:
        self._events, self._steps = events, steps
        self._every = WAIT if device.type != "cpu" else 1
        self._unread: list[tuple[int, str, float, str, Tensor]] = []
        self._window = math.ceil(steps / _POINTS)
        self._turn = ""
        self._sum, self._count = 0.0, 0
        self._examples, self._seconds, self._began = 0, 0.0, time.perf_counter()
        self._work = Work()
        self._first, self._last, self._over = list[float](), list[float](), 0
        self.curve: list[tuple[int, float]] = []
        self.rates: list[tuple[int, float]] = []

    @property
    def seconds(self) -> float:
        """Time spent on steps; evaluation and checkpoints are left out."""
        return self._seconds

    @property
    def examples_per_s(self) -> float:
        return self._examples / max(self._seconds, 1e-9)

    @property
    def work(self) -> Work:
        """What went through the model in that time."""
        return self._work

    def begin(self) -> None:
        """A step begins."""
        self._began = time.perf_counter()

    def hear(self, step: int, turn: str, lr: float, *, loss: Tensor | None, norm: Tensor | None) -> None:
        """The numbers of a turn, which stay on their device until they are read; None where there is none."""
        values = {"loss": loss, "norm of the gradient": norm}
        self._turn = self._turn or turn
        self._unread += [(step, turn, lr, what, value) for what, value in values.items() if value is not None]

    def end(self, done: int, lr: float, examples: int, work: Work) -> None:
        """A step ends, `done` in all; now and then its numbers are read and told."""
        if done % self._every == 0:
            self.read()
        self._seconds += time.perf_counter() - self._began
        self._examples += examples
        self._work += work
        if done % self._window == 0:
            self.read()
            if self._count:
                self.curve.append((done, self._sum / self._count))
                self.rates.append((done, lr))
                self._sum, self._count = 0.0, 0
                self._events.numbers(step=done, loss=self.curve[-1][1], lr=lr)
        told = {"loss": self.curve[-1][1]} if self.curve else {}
        speed = round(self.examples_per_s, 1)
        self._events.progress("train", done, self._steps, unit="steps", lr=lr, examples_per_s=speed, **told)

    def read(self) -> None:
        """Wait for the numbers of the steps so far. Raises DivergedError naming the first that is not finite
        or far, or for long, above those of the start."""
        if not self._unread:
            return
        values = torch.stack([value.detach().float() for *_, value in self._unread]).tolist()
        unread, self._unread = self._unread, []
        for (step, turn, lr, what, _), value in zip(unread, values, strict=True):
            guards.check_finite(value, what=what, step=step + 1, steps=self._steps, turn=turn, lr=lr)
            if what == "loss" and turn == self._turn:
                self._sum, self._count = self._sum + value, self._count + 1
                self._check_course(value, step + 1, lr)

    def _check_course(self, loss: float, step: int, lr: float) -> None:
        self._first = [*self._first, loss][: guards.WINDOW]
        self._last = [*self._last, loss][-guards.WINDOW :]
        self._over = self._over + 1 if guards.is_above(self._first, self._last) else 0
        guards.check_near(self._first, self._last, step=step, steps=self._steps, lr=lr)
        guards.check_back(self._over, self._last, self.curve, step=step, steps=self._steps, lr=lr)

    def notes(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        self.read()
        return {
            "curve": [list(point) for point in self.curve],
            "rates": [list(point) for point in self.rates],
            "window": [self._sum, self._count],
            "ends": [self._first, self._last],
            "over": self._over,
            "spent": [self._seconds, self._examples],
            "work": list(self._work),
        }

    def restore(self, notes: dict[str, Any]) -> None:
        """Give back what `notes` gave."""
        self.curve = [(int(step), float(loss)) for step, loss in notes["curve"]]
        self.rates = [(int(step), float(lr)) for step, lr in notes["rates"]]
        self._sum, self._count = notes["window"]
        self._first, self._last = notes["ends"]
        self._over = notes.get("over", 0)
        self._seconds, self._examples = notes["spent"]
        self._work = Work(*notes["work"])
