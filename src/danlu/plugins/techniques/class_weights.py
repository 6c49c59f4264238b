"""Weigh the loss of rare labels more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from danlu.blocks import priors
from danlu.blocks.labels import TARGET
from danlu.contracts import Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class ClassWeights(Technique):
    """Multiplies the loss of an example by a number of its label: by default rows / (labels × rows of the label).

    All labels then weigh the same together, and the mean weight of a row is 1. It finds more of the rare label, and
    calls more rows by it that are not: let `watch: f1` choose the best weights, and look at precision too. For one
    label a row.
    """

    gives: ClassVar[Mapping[str, str]] = {"balance": "class_weights"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label",),
        "learning": ("descent",),
        "balance": ("class_weights",),
    }

    power: float = Field(default=1.0, gt=0, le=2)
    """The weights are raised to this power: 0.5 makes up for half of the imbalance, on a scale of logarithms."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default={})
    """Weights of your own by label, 1 where none is given; then nothing is counted."""

    def start(self, run: Any) -> None:
        labels = run.task.head().labels
        rows = priors.counts(run.job.train, labels, self.name)
        if self.weights:
            weights = priors.by_label(self.weights, labels, f"techniques.{self.name}.weights")
        else:
            weights = (rows.sum() / (rows > 0).sum() / rows.clamp(min=1)) ** self.power
        if bool((weights[rows > 0] == weights[rows > 0][0]).all()):
            what = "every label of the training rows has the same weight, so the weights would change nothing"
            raise RecipeError(what, where=f"techniques.{self.name}", do=f"leave {self.name} out")
        run.events.note(f"{self.name}: {priors.told(rows, weights, labels)}")
        run.kept(self)["weights"] = weights.to(run.device)

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        weights: Tensor = run.kept(self)["weights"]
        return loss * weights[run.batch.targets[TARGET]]
