"""Free large-batch adversarial training (Zhu et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from danlu.blocks.perturbing import further
from danlu.contracts import Technique


class FreeLB(Technique):
    """Learns every batch in `steps` places of which each lies a little further to where the loss grows.

    The gradients of all places are averaged, so none of the passes is for the search alone. A step takes about `steps`
    times the time. The first place is the batch as it is (the authors' `adv_init_mag` of 0), and every pass draws its
    own dropout. The loss that is shown is that of the first place.
    """

    gives: ClassVar[Mapping[str, str]] = {"adversary": "freelb"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "learning": ("descent",),
        "adversary": ("freelb",),
    }

    size: float = Field(default=0.5, gt=0, le=100)
    """How far at most, as the norm over all tokens of an example."""
    rate: float = Field(default=0.1, gt=0, le=100)
    """How far from one place to the next."""
    steps: int = Field(default=3, ge=2, le=50)
    """How many places."""

    def start(self, run: Any) -> None:
        run.open_embeddings(self, gradients=True)

    def after_backward(self, run: Any) -> None:
        added = [torch.zeros_like(vectors) for vectors in run.vectors]
        for _ in range(self.steps - 1):
            added = further(added, [vectors.grad for vectors in run.vectors], self.rate, self.size)
            run.again(added)

    def before_step(self, run: Any) -> None:
        for weight in run.trained(run.turn.moves).values():
            if weight.grad is not None:
                weight.grad /= self.steps
