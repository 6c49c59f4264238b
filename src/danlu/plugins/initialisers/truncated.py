"""Normal numbers of one width, none beyond two widths, as in the first BERT and in vision transformers."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from danlu.contracts import Initialiser


class Truncated(Initialiser):
    """Like `normal`, without the rare weight that is far out."""

    std: float = Field(default=0.02, gt=0)
    """Standard deviation of the normal numbers; what is left has 0.88 of it."""

    def fill(self, weight: Tensor, scale: float = 1.0) -> None:
        reach = 2 * self.std * scale
        nn.init.trunc_normal_(weight, std=self.std * scale, a=-reach, b=reach)
