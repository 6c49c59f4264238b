"""Elastic weight consolidation: weights that mattered stay near where they were (Kirkpatrick et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field

from danlu.blocks.averages import copies
from danlu.blocks.olden import old_places
from danlu.blocks.tensors import evaluating
from danlu.contracts import Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class EWC(Technique):
    """Adds strength / 2 × the sum of F (w - w₀)² over the trained weights: w₀ where they began, F how they mattered.

    F is the diagonal of the empirical Fisher information: the mean square of the gradients of the loss on single
    training rows of an earlier data set, which the step names (`before: $old`). For a model that a step goes on from
    (`base: $first`). It takes the memory of two more copies of the trained weights.
    """

    inputs: ClassVar[tuple[str, ...]] = ("base", "before")
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",)}

    strength: float = Field(default=1e6, gt=0)
    """How stiff; F is small where the old rows were learnt well, so it is a large number. Try a tenth and ten times
    of it: the stiffer, the less is learnt anew."""
    rows: int = Field(default=200, ge=1)
    """Old rows, spread evenly, on which F is measured: a pass of its own for each."""

    def start(self, run: Any) -> None:
        kept = run.kept(self)
        if "fisher" in kept:
            return
        kept["anchor"] = copies(run.trained())
        kept["fisher"] = self._fisher(run)
        if not any(bool(square.any()) for square in kept["fisher"].values()):
            what = "the old rows give no gradient, so no weight would be held"
            raise RecipeError(what, where="techniques.ewc", do="check that the model was trained on rows of that kind")

    def _fisher(self, run: Any) -> dict[str, Tensor]:
        weights, turn = run.trained(), run.turns[0]
        places = old_places(run, self.name, self.rows)
        squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        with evaluating(run.model):
            for batch in run.batches([run.job.before[k] for k in places], size=1):
                loss = turn.loss(turn.forward(run.model, batch), batch).sum()
                found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
                for name, gradient in zip(weights, found, strict=True):
                    if gradient is not None:
                        squares[name] += gradient.square() / len(places)
        return squares

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        kept, weights = run.kept(self), run.trained()
        pulls = [(kept["fisher"][n] * (w - kept["anchor"][n]).square()).sum() for n, w in weights.items()]
        pull: Tensor = self.strength / 2 * torch.stack(pulls).sum() * run.batch.count
        return loss + pull
