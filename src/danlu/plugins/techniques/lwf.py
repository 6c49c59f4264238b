"""Learning without forgetting: stay near what the model said before (Li and Hoiem, 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from danlu.blocks.divergence import divergence
from danlu.contracts import Technique

if TYPE_CHECKING:
    from torch import Tensor


class LwF(Technique):
    """Draws the logits for the new rows towards those the model gave them before this training; needs no old rows.

    For a model that a step goes on from (`base: $first`). Added is weight × temperature² × the Kullback-Leibler
    divergence between both logits, divided by the temperature.
    """

    beside: ClassVar[tuple[str, ...]] = ("reference",)
    inputs: ClassVar[tuple[str, ...]] = ("base",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label", "labels"),
        "head": ("input",),
        "learning": ("descent",),
    }

    weight: float = Field(default=1.0, gt=0, le=1000)
    """How strongly it holds on to what it said."""
    temperature: float = Field(default=2.0, gt=0, le=100)
    """Above 1, what it found unlikely counts for more."""

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        before = run.batch.beside["reference"]["logits"]
        several = run.task.head().several
        apart = divergence(run.outputs["logits"], before, several=several, temperature=self.temperature)
        return loss + self.weight * self.temperature**2 * apart
