"""Time per input."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from danlu.contracts import Answer, Metric

_LEAST = 2
"""Calls that are timed however long they take."""


class Latency(Metric):
    """Milliseconds per input, raw input to answer, at each batch size: the median and the 95th percentile of the calls.

    Measured on this machine with whatever else it is doing; compare numbers of one run only.
    """

    better: ClassVar[Literal["higher", "lower"]] = "lower"
    of: ClassVar[Literal["answers", "form"]] = "form"

    batch_sizes: tuple[int, ...] = (1, 32)
    """How many inputs are asked at once; the first is the headline."""
    rounds: int = 3
    """How often each call is timed, after one round that is not."""
    calls: int = 24
    """Calls a round at batch size 1; larger batches make fewer, two at least."""
    longest: float = Field(default=10.0, gt=0)
    """Seconds after which no further call of a batch size is timed, once two were: models that write take seconds for
    an answer."""

    def measure(
        self, ask: Callable[[Sequence[Any]], list[Answer]], inputs: Sequence[Any], folder: Path | None
    ) -> dict[str, float]:
        """`{value, "1": ms, "1_p95": ms, "32": ms, "32_p95": ms}`, per input; empty without inputs."""
        numbers: dict[str, float] = {}
        for size in self.batch_sizes if inputs else ():
            batches = _batches(inputs, size, max(2, self.calls // size))
            per_input = 1e3 * np.array(self._timed(ask, batches)) / size
            numbers[f"{size}"] = float(np.median(per_input))
            numbers[f"{size}_p95"] = float(np.percentile(per_input, 95))
        return {"value": numbers[f"{self.batch_sizes[0]}"], **numbers} if numbers else {}

    def _timed(self, ask: Callable[[Sequence[Any]], list[Answer]], batches: Sequence[list[Any]]) -> list[float]:
        """Seconds of each call after the first round, which ends early where its calls are slow."""
        spent = 0.0
        for batch in batches:
            if spent < self.longest / 2:
                spent += _seconds(ask, batch)
        times: list[float] = []
        for batch in (batch for _ in range(self.rounds) for batch in batches):
            if sum(times) < self.longest or len(times) < _LEAST:
                times.append(_seconds(ask, batch))
        return times


def _batches(inputs: Sequence[Any], size: int, calls: int) -> list[list[Any]]:
    """Batches from the front of the inputs, which begin anew when they are used up."""
    return [[inputs[(call * size + k) % len(inputs)] for k in range(size)] for call in range(calls)]


def _seconds(ask: Callable[[Sequence[Any]], list[Answer]], batch: Sequence[Any]) -> float:
    begin = time.perf_counter()
    ask(batch)
    return time.perf_counter() - begin
