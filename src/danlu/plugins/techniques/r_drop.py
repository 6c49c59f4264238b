"""R-Drop: two passes with different dropout shall say the same (Liang et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from danlu.blocks.divergence import symmetric
from danlu.contracts import Batch, Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class RDrop(Technique):
    """Every batch goes through the model twice, as one of twice the size, so each example under two dropout masks.

    Added to the mean of the two losses is alpha × the mean of the two Kullback-Leibler divergences between what they
    say. A step takes about twice the time and the memory. A model without dropout says the same twice, and is refused.
    It comes last of the techniques that change batches.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label", "labels"),
        "head": ("input",),
        "learning": ("descent",),
    }

    alpha: float = Field(default=1.0, gt=0, le=100)
    """The weight of the divergence; the paper takes 0.5 to 5."""

    def start(self, run: Any) -> None:
        behind = run.techniques[run.techniques.index(self) + 1 :]
        if after := [t.name for t in behind if type(t).vary is not Technique.vary]:
            what = f"{after[0]} stands behind r_drop and would change the two copies of an example in different ways"
            raise RecipeError(what, where="techniques", do=f"write r_drop behind {after[0]}")
        if not any("dropout" in type(m).__name__.lower() and getattr(m, "p", 0) > 0 for m in run.model.modules()):
            what = "the model has no dropout, so both passes would say the same"
            raise RecipeError(what, where="techniques.r_drop", do="choose a dropout above 0, or leave r_drop out")

    def vary(self, batch: Batch, run: Any, rng: np.random.Generator) -> Batch:
        copies = torch.arange(len(batch), device=batch.count.device).repeat(2)
        change = batch.embed
        if change is None:
            return batch.take(copies)
        return replace(batch.take(copies), embed=lambda v: torch.cat([change(half) for half in v.chunk(2)]))

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        one, two = run.outputs["logits"].float().chunk(2)
        apart = symmetric(one, two, several=run.task.head().several)
        return loss + self.alpha * apart.repeat(2)
