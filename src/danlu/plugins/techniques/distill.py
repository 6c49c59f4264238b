"""Distillation: learn from what a teacher says as well as from the labels (Hinton et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from danlu.blocks.divergence import divergence
from danlu.contracts import Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class Distill(Technique):
    """Draws the logits towards those of a trained model, which the step names: `teacher: $big`.

    The loss of an example is (1 - weight) × the task's own + weight × temperature² × the Kullback-Leibler divergence
    between both logits, divided by the temperature. The teacher may be of any form, such as ONNX; it answers the same
    labels and reads inputs in the same way, and is asked at every step.
    """

    beside: ClassVar[tuple[str, ...]] = ("teacher",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label", "labels"),
        "head": ("input",),
        "learning": ("descent",),
    }

    weight: float = Field(default=0.5, gt=0, le=1)
    """1: the teacher alone; then labels play no part."""
    temperature: float = Field(default=2.0, gt=0, le=100)
    """Above 1, what the teacher finds unlikely counts for more."""
    features: dict[str, float] = Field(default={})
    """Further outputs that both have in the same shape, such as hidden states or attention, with the weight of their
    mean squared difference."""

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        said, taught = run.outputs, run.batch.beside["teacher"]
        apart = divergence(
            said["logits"], taught["logits"], several=run.task.head().several, temperature=self.temperature
        )
        loss = (1 - self.weight) * loss + self.weight * self.temperature**2 * apart
        for name, weight in self.features.items():
            loss = loss + weight * self._difference(name, said, taught)
        return loss

    def _difference(self, name: str, said: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
        if name not in said or name not in taught or said[name].shape != taught[name].shape:
            both = [f"{n} {tuple(a.shape)}" for n, a in said.items() if n in taught and a.shape == taught[n].shape]
            what = f"there is no output {name!r} of the same shape in both models; there are: {', '.join(both)}"
            raise RecipeError(what, where="techniques.distill.features", do="name one of those, or leave it out")
        return (said[name].float() - taught[name].float()).square().flatten(1).mean(1)
