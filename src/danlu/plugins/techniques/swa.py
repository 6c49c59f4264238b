"""Stochastic weight averaging (Izmailov et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import averages
from danlu.contracts import Technique

_LOOKS = 20
"""Into how many averaged moments the last part of a training is divided, where the recipe does not say."""


class SWA(Technique):
    """The model answers, and ends, with the plain mean of its weights at moments of the last part of the training.

    The rate of learning should not fall in that part: `schedule: constant`. The statistics of batch norms are measured
    anew for the mean, on up to `norm_examples` training examples, each time the model answers. Before that part begins,
    the model answers as it is.
    """

    gives: ClassVar[Mapping[str, str]] = {"average": "swa"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",), "average": ("swa",)}

    begin: float = Field(default=0.5, ge=0, lt=1)
    """The share of the steps that passes before averaging begins."""
    every: int | None = Field(default=None, ge=1)
    """Steps from one averaged moment to the next; by default a twentieth of that part."""
    norm_examples: int = Field(default=2000, ge=1)
    """Training examples, spread evenly, on which batch norms are measured."""

    def start(self, run: Any) -> None:
        run.kept(self).update(count=0, average=averages.copies(run.changing()))

    def after_step(self, run: Any) -> None:
        first = int(self.begin * run.steps)
        every = self.every or max(1, (run.steps - first) // _LOOKS)
        if run.turn is run.turns[-1] and run.step >= first and (run.steps - 1 - run.step) % every == 0:
            kept = run.kept(self)
            kept["count"] += 1
            averages.move(kept["average"], run.changing(), 1 / kept["count"])

    def answering(self, run: Any, answering: bool) -> None:
        if run.kept(self)["count"]:
            self._swap(run, measure=answering)

    def finish(self, run: Any) -> None:
        if run.kept(self)["count"]:
            self._swap(run, measure=True)

    def _swap(self, run: Any, *, measure: bool) -> None:
        averages.swap(run.kept(self)["average"], run.changing())
        if measure:
            train = run.job.train
            places = np.linspace(0, len(train) - 1, min(len(train), self.norm_examples)).astype(int)
            averages.measure_norms(run.model, run.batches([train[k] for k in places]), run.turns[0].forward)
