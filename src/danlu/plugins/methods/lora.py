"""Low-rank adaptation (Hu et al., 2021): the weights stay, a product of two thin matrices is learnt beside them."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from danlu.blocks import peft
from danlu.blocks.adapting import LowRank


class LoRA(LowRank):
    """Trains one or two percent of the weights: less memory, and many adapters share one base on the disk.

    Weights that are still random when training starts, such as the task's head, are trained whole.
    """

    lr: ClassVar[float] = 1e-3
    silent: ClassVar[str] = ".lora_B."

    def put(self, model: nn.Module, layers: list[str]) -> None:
        peft.add_lora(model, layers, rank=self.rank, alpha=self.alpha, dropout=self.dropout)
