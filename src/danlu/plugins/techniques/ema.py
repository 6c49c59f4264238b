"""An exponential moving average of the weights (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from danlu.blocks import averages
from danlu.contracts import Technique


class EMA(Technique):
    """The model answers, and ends, with an average of its weights in which older ones fade.

    Buffers such as the statistics of batch norms are averaged with them. The average is what is looked at on the
    validation rows. It takes the memory of one more copy of the trained weights.
    """

    gives: ClassVar[Mapping[str, str]] = {"average": "ema"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",), "average": ("ema",)}

    decay: float = Field(default=0.999, gt=0, lt=1)
    """The share that stays at a step; in step t at most (1 + t) / (10 + t), so a short training is averaged, too."""

    def start(self, run: Any) -> None:
        run.kept(self)["average"] = averages.copies(run.changing())

    def after_step(self, run: Any) -> None:
        if run.turn is run.turns[-1]:
            decay = min(self.decay, (1 + run.step) / (10 + run.step))
            averages.move(run.kept(self)["average"], run.changing(), 1 - decay)

    def answering(self, run: Any, answering: bool) -> None:
        averages.swap(run.kept(self)["average"], run.changing())

    def finish(self, run: Any) -> None:
        averages.swap(run.kept(self)["average"], run.changing())
