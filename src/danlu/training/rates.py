"""The range test: a learning rate from some tens of steps with a rising one (Smith, 2017)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from danlu.contracts import Schedule
from danlu.core.errors import RecipeError
from danlu.core.events import Event, Events
from danlu.training.guards import DivergedError
from danlu.training.job import Job
from danlu.training.precision import Precision

STEPS = 50
"""Steps of the test: 8 to a power of ten, and as many as the pulse tells one by one."""
LOWEST, HIGHEST = 1e-6, 1.0
"""The rates of its first and last step, for `adamw`."""
_SMOOTH = 0.8


class Rising(Schedule):
    """From the lowest to the highest rate, by the same factor at every step."""

    def fall(self, step: int, steps: int, risen: int) -> float:
        return float((LOWEST / HIGHEST) ** (1 - (step + 1) / steps))


def find(job: Job, precision: Precision, fit: Callable[[Job], Any]) -> dict[str, Any]:
    """`lr`, a tenth of the rate at which the smoothed loss was lowest, and the `curve` of [rate, smoothed loss].

    A copy of the module is trained with the job's own examples, optimizer and techniques; the job is left as it was.
    Raises RecipeError where the loss falls at no rate.
    """
    heard: list[tuple[float, float]] = []

    def listen(event: Event) -> None:
        if event.kind == "numbers" and "loss" in event.data:
            heard.append((event.data["lr"], event.data["loss"]))

    top = HIGHEST * job.settings.optimizer.lr_scale
    asked = {"lr": top, "schedule": Rising(), "warmup": 0.0, "steps": STEPS, "epochs": None}
    settings = job.settings.model_copy(update=asked | {"precision": precision})
    unwatched: dict[str, Any] = {"validation": (), "judge": None, "work": None}
    trial = replace(job, module=copy.deepcopy(job.module), settings=settings, events=Events([listen]), **unwatched)
    with suppress(DivergedError):  # a rate that is too high ends the test; it need not reach the highest
        fit(trial)
    curve = smoothed([pair for pair in heard if math.isfinite(pair[1])])
    lowest = min(curve, key=lambda point: point[1], default=(top, math.inf))
    if not curve or lowest[1] >= curve[0][1]:
        what = f"lr: find tried {len(curve)} rates up to {top:.3g}, and the loss falls at none of them"
        raise RecipeError(what, where="lr", do="name a rate; look at the data and at what the method trains")
    lr = float(f"{lowest[0] / 10:.2g}")
    job.events.note(f"range test: the loss is lowest at a learning rate of {lowest[0]:.2g}, so a tenth, {lr:.2g}")
    return {"lr": lr, "curve": [[float(f"{rate:.3g}"), round(loss, 6)] for rate, loss in curve]}


def smoothed(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The losses as an exponential mean, corrected for its start."""
    mean, found = 0.0, []
    for k, (rate, loss) in enumerate(points, 1):
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        found.append((rate, mean / (1 - _SMOOTH**k)))
    return found
