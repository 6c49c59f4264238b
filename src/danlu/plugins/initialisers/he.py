"""Normal numbers, as wide as the layer has inputs (He et al., 2015)."""

from __future__ import annotations

from torch import Tensor, nn

from danlu.contracts import Initialiser


class He(Initialiser):
    """For layers followed by ReLU or GELU: variance 2 / inputs, so that half of the outputs may be cut off."""

    def fill(self, weight: Tensor, scale: float = 1.0) -> None:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        weight.mul_(scale)
