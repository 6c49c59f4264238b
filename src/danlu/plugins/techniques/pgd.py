"""Adversarial training by projected gradient descent (Madry et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from danlu.blocks.perturbing import further
from danlu.contracts import Technique


class PGD(Technique):
    """Learns every batch as it is, and with its vectors moved in several steps to where the loss is greatest nearby.

    Stronger than `fgm`, and slower: a step takes about 2 + `steps` times the time. The steps begin at the vectors
    themselves; each example's change is cut back to `size`. The loss that is shown is that of the batch as it is.
    """

    gives: ClassVar[Mapping[str, str]] = {"adversary": "pgd"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "learning": ("descent",),
        "adversary": ("pgd",),
    }

    version: ClassVar[int] = 2

    size: float = Field(default=0.2, gt=0, le=100)
    """How far at most, as the norm over all tokens of an example."""
    rate: float = Field(default=0.08, gt=0, le=100)
    """How far in one step."""
    steps: int = Field(default=3, ge=1, le=50)
    """How many steps."""

    def start(self, run: Any) -> None:
        run.open_embeddings(self, gradients=True)

    def after_backward(self, run: Any) -> None:
        """Only the last pass adds to the gradients of the weights; the ones before ask for those of the change."""
        gradients = [vectors.grad for vectors in run.vectors]
        added = further([torch.zeros_like(g) for g in gradients], gradients, self.rate, self.size)
        for _ in range(self.steps - 1):
            leaves = [change.requires_grad_() for change in added]
            gradients = list(torch.autograd.grad(run.losses(leaves).sum(), leaves))
            added = further(leaves, gradients, self.rate, self.size)
        run.again(added)
