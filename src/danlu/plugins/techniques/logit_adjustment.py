"""Logit adjustment: train as if every label were equally common (Menon et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from danlu.blocks import priors
from danlu.contracts import Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class LogitAdjustment(Technique):
    """Adds tau × log(share of the label) to the logits in the loss alone, so the model's own logits are without it.

    It aims at the mean recall over labels, as `class_weights` does, but also where the weights of a large model can
    fit all rows. The confidences are those of a world where labels are equally common; `target` names another. For one
    label a row.
    """

    gives: ClassVar[Mapping[str, str]] = {"balance": "logit_adjustment"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label",),
        "learning": ("descent",),
        "balance": ("logit_adjustment",),
    }

    tau: float = Field(default=1.0, gt=0, le=5)
    """1 makes up for the imbalance whole, 0.5 for half of it."""
    target: dict[str, Annotated[float, Field(gt=0)]] = Field(default={})
    """How common each label is where the model will be used, in any unit, 1 where none is given; empty: all equally."""

    def start(self, run: Any) -> None:
        labels = run.task.head().labels
        rows = priors.counts(run.job.train, labels, self.name)
        wanted = priors.by_label(self.target, labels, f"techniques.{self.name}.target")
        shift = self.tau * (rows.clamp(min=1).log() - wanted.log())
        shift -= shift.max()
        if bool((shift.abs() < 1e-6).all()):
            what = "the labels of the training rows are as common as they shall be, so nothing would be adjusted"
            raise RecipeError(what, where=f"techniques.{self.name}", do=f"leave {self.name} out")
        run.events.note(f"{self.name}: added to the logits while training: {priors.told(rows, shift, labels)}")
        run.kept(self)["shift"] = shift.to(run.device)

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        """The change that the adjustment makes to the task's own loss, added to what other techniques made of it."""
        adjusted = {**run.outputs, "logits": run.outputs["logits"].float() + run.kept(self)["shift"]}
        change: Tensor = run.turn.loss(adjusted, run.batch) - run.turn.loss(run.outputs, run.batch)
        return loss + change
