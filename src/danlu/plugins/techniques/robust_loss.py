"""Losses that wrong labels pull less: generalized (Zhang and Sabuncu, 2018) and symmetric (Wang et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from danlu.blocks import priors
from danlu.blocks.labels import TARGET
from danlu.contracts import Technique

if TYPE_CHECKING:
    from torch import Tensor

_LOG_OF_ZERO = -4.0
"""What Wang et al. take for the logarithm of a label that is not true."""


class RobustLoss(Technique):
    """Takes the place of cross entropy where some labels of the training rows are wrong.

    `generalized`: (1 - p^q) / q, where p is what the model gives to the label; between cross entropy (q → 0) and the
    mean absolute error (q = 1). `symmetric`: alpha × cross entropy + beta × the reverse cross entropy 4 (1 - p). Right
    rows are learnt more slowly, too. What weighs rows (`class_weights`) comes behind it in the list. For one label a
    row.
    """

    main: ClassVar[str] = "kind"
    gives: ClassVar[Mapping[str, str]] = {"loss": "robust"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label",),
        "head": ("input",),
        "learning": ("descent",),
        "loss": ("robust",),
    }

    kind: Literal["generalized", "symmetric"] = "generalized"
    """Which of the two."""
    q: float = Field(default=0.7, gt=0, le=1)
    """For `generalized`: how robust; more is slower to learn."""
    alpha: float = Field(default=0.1, ge=0)
    """For `symmetric`: the weight of cross entropy."""
    beta: float = Field(default=1.0, gt=0)
    """For `symmetric`: the weight of the reverse."""

    def start(self, run: Any) -> None:
        priors.counts(run.job.train, run.task.head().labels, self.name)  # raises where there is not one label a row

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        """The difference to cross entropy, added to what other techniques made of it."""
        scores = run.outputs["logits"].float().log_softmax(-1)
        log_p: Tensor = scores.gather(-1, run.batch.targets[TARGET][:, None])[:, 0]
        if self.kind == "generalized":
            robust = (1 - (self.q * log_p).exp()) / self.q
        else:
            robust = -self.alpha * log_p - self.beta * _LOG_OF_ZERO * (1 - log_p.exp())
        return loss + robust + log_p
