"""Label smoothing: a little of every label is true (Szegedy et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from danlu.blocks.labels import TARGET
from danlu.contracts import Technique

if TYPE_CHECKING:
    from torch import Tensor


class LabelSmoothing(Technique):
    """Trains on 1 - epsilon of the true label and epsilon spread evenly over all labels.

    Where several labels can hold, each is drawn towards one half. Confidences come out lower than without it. What
    weighs rows (`class_weights`) comes behind it in the list.
    """

    gives: ClassVar[Mapping[str, str]] = {"loss": "smoothed"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label", "labels"),
        "head": ("input",),
        "learning": ("descent",),
    }

    epsilon: float = Field(default=0.1, gt=0, lt=1)
    """How much is spread."""

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        """What smoothing adds to cross entropy: epsilon × (the true logit - their mean), for the log-sum cancels."""
        logits, truth = run.outputs["logits"].float(), run.batch.targets[TARGET]
        if run.task.head().several:
            added: Tensor = (logits * (truth - 0.5)).sum(-1)
        else:
            added = logits.gather(-1, truth[:, None])[:, 0] - logits.mean(-1)
        return loss + self.epsilon * added
