"""(IA)³ (Liu et al., 2022): keys, values and the inner numbers of the feed-forward layers are scaled, nothing else."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from danlu.blocks import peft
from danlu.blocks.adapting import Merging, ends

_OUTPUTS = (
    "attention.self.key", "attention.self.value", "attention.attention.key", "attention.attention.value",
    "k_proj", "v_proj", "attn.c_attn", "attn.Wqkv", "SelfAttention.k", "SelfAttention.v",
)  # fmt: skip
"""Where the families that are known make keys and values."""
_INPUTS = (
    "output.dense", "down_proj", "mlp.c_proj", "mlp.Wo", "DenseReluDense.wo",
)  # fmt: skip
"""Their layers that take the feed-forward layer's inner numbers."""


class IA3(Merging):
    """Trains a factor for each feature of keys, values and feed-forward layers: less than a
    thousandth of the weights.

    In a model of an unknown family the outputs of all linear layers are scaled.
    """

    lr: ClassVar[float] = 3e-3

    inputs: tuple[str, ...] = _INPUTS
    """Ends of the names of adapted layers whose inputs are scaled, in place of their outputs."""

    def put(self, model: nn.Module, layers: list[str]) -> None:
        fed = [name for name in layers if any(ends(name, end) for end in self.inputs) and "attention." not in name]
        peft.add_ia3(model, layers, fed)

    def open_up(self, model: nn.Module) -> None:
        found = self.layers(model, _OUTPUTS + _INPUTS)
        self.put(model, [name for name in found if self.targets or not name.endswith("attention.output.dense")])
