"""Weight-decomposed low-rank adaptation (Liu et al., 2024): LoRA turns the columns, a vector learns their lengths."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from danlu.blocks import peft
from danlu.blocks.adapting import LowRank


class DoRA(LowRank):
    """As LoRA, with the length of every column of a weight learnt apart from its direction.

    A step computes those lengths anew, so it takes longer than one of LoRA.
    """

    lr: ClassVar[float] = 1e-3

    def put(self, model: nn.Module, layers: list[str]) -> None:
        peft.add_lora(model, layers, rank=self.rank, alpha=self.alpha, dropout=self.dropout, dora=True)
