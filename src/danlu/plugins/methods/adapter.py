"""Bottleneck adapters: small networks between the frozen layers (Houlsby et al., 2019; Pfeiffer et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from danlu.blocks import bottleneck
from danlu.blocks.adapting import Adapting, ends

_FEED_FORWARD = ("output.dense", "down_proj", "mlp.c_proj", "mlp.Wo", "DenseReluDense.wo")
_ATTENTION = ("attention.output.dense", "o_proj", "attn.c_proj", "attn.Wo", "SelfAttention.o")
"""The last linear layers of the sublayers, in the families that are known."""


class Adapter(Adapting):
    """Trains a narrow network after the sublayers of a model; unlike LoRA's it stays, and an answer passes through it.

    In a model of an unknown family it stands after every linear layer that is not trained whole.
    """

    lr: ClassVar[float] = 1e-3
    gives: ClassVar[Mapping[str, str]] = {"parts": "stay"}
    silent: ClassVar[str] = ".adapter.up."

    size: int = Field(default=32, ge=1)
    """Width of the narrow layer."""
    style: Literal["pfeiffer", "houlsby"] = "pfeiffer"
    """`pfeiffer`: after the feed-forward sublayer; `houlsby`: after attention too, twice the weights."""

    def changes_structure(self) -> bool:
        return True

    def open_up(self, model: nn.Module) -> None:
        usual = _FEED_FORWARD + (_ATTENTION if self.style == "houlsby" else ())
        found = self.layers(model, usual)
        if self.targets is None and self.style == "pfeiffer" and any(ends(n, end) for n in found for end in usual):
            found = [name for name in found if not any(ends(name, end) for end in _ATTENTION)]
        self.put(model, found)

    def put(self, model: nn.Module, layers: list[str]) -> None:
        bottleneck.add(model, layers, self.size)
