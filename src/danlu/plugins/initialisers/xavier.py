"""Normal numbers, as wide as the layer has inputs and outputs (Glorot and Bengio, 2010)."""

from __future__ import annotations

from torch import Tensor, nn

from danlu.contracts import Initialiser


class Xavier(Initialiser):
    """For layers whose function is straight near zero (tanh, sigmoid, attention): variance 2 / (inputs + outputs)."""

    def fill(self, weight: Tensor, scale: float = 1.0) -> None:
        nn.init.xavier_normal_(weight, gain=scale)
