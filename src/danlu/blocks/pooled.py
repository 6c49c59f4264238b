"""Encoders of transformers whose answer is one vector for a text: the mean of its tokens (Reimers and Gurevych, 2019).

The module stays the library's own class, with its own names of weights: plain transformers loads it, and the mean over
real tokens gives the same vectors there.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from danlu.contracts import Arrays


def pool(module: nn.Module) -> nn.Module:
    """Turn an encoder without a head into one whose `forward` is `Pooled.forward`; the weights stay.

    What the library itself puts behind the encoder, a pooler of the first token, is left out.
    """
    model: Any = module
    kind = type(model)
    if not isinstance(model, Pooled):
        model.__class__ = type(kind.__name__, (Pooled, kind), {"__module__": kind.__module__})
        model._without_pooler()
    return module


class Pooled(nn.Module):
    """An encoder whose answer is the mean of the vectors of a text's tokens."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._without_pooler()

    def _without_pooler(self) -> None:
        if getattr(self, "pooler", None) is not None:
            self.pooler = None

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Arrays:
        """`vector` [n, width]; padding does not count."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = super().forward(input_ids=input_ids, attention_mask=attention_mask, **types)[0]
        real = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return {"vector": (hidden * real).sum(1) / real.sum(1).clamp(min=1)}
