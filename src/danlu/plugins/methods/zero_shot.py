"""No row is learnt from: a text has the label whose description is nearest to it (Yin et al., 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks import described, sentence
from danlu.blocks.described import Described
from danlu.contracts import Beginning

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCALES = torch.logspace(0, 2, 41)
"""What cosines are multiplied by, tried on the validation rows."""


class ZeroShot(Described):
    """Compares a text's sentence vector with those of the labels' descriptions; nothing is trained.

    What it says is a softmax of the cosines times `scale`, so a confidence is one only as far as `scale` fits. Unless
    given, it is the one under which the validation rows are likeliest, or 20 where there are none; one number is fitted
    to their labels, and no weight.
    """

    trains: ClassVar[bool] = False

    scale: float | None = Field(default=None, gt=0)
    """What cosines are multiplied by before the softmax."""

    def wrap(self, model: nn.Module) -> nn.Module:
        return super().wrap(model).requires_grad_(False)

    def begin(self, model: nn.Module, given: Beginning) -> None:
        """The head's rows are the descriptions' vectors, as long as `scale`."""
        assert isinstance(model, sentence.Sentences)
        rows, scale = self.compare(model, given), self.scale
        if scale is None and given.validation:
            cosines = sentence.vectors_of(model, given.validation, given.processor) @ rows.T
            scale = likeliest(cosines, described.true_labels(given.validation), _SCALES.tolist())
        described.fill(model.head, (scale or 20.0) * rows)


def likeliest(cosines: Tensor, truth: Tensor, scales: Iterable[float]) -> float:
    """Of some scales the one under which the true labels [n] are likeliest, given cosines [n, labels]."""
    return min(scales, key=lambda scale: float(functional.cross_entropy(scale * cosines, truth)))
