"""Normal numbers of one width, as in GPT-2."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from danlu.contracts import Initialiser


class Normal(Initialiser):
    """What GPT-2 and BERT begin with; deep models want `residual` too."""

    std: float = Field(default=0.02, gt=0)
    """Standard deviation."""

    def fill(self, weight: Tensor, scale: float = 1.0) -> None:
        nn.init.normal_(weight, std=self.std * scale)
