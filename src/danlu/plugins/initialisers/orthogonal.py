"""Rows (or columns, where there are fewer) at right angles and of one length (Saxe et al., 2014)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from danlu.contracts import Initialiser


class Orthogonal(Initialiser):
    """For recurrent layers and very deep ones: a signal keeps its length on its way through."""

    gain: float = Field(default=1.0, gt=0)
    """The length of a row."""

    def fill(self, weight: Tensor, scale: float = 1.0) -> None:
        nn.init.orthogonal_(weight, gain=self.gain * scale)
