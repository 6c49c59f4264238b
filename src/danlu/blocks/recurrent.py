"""Texts read word by word in both directions, each direction with a memory of what came before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from danlu.blocks.dropout import Dropout
from danlu.blocks.fresh_text import FreshText
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Head, SpecialTokens, Tokenizer, slot

_SHAPES = {"tiny": (1, 64), "small": (2, 128), "base": (2, 256)}
"""Layers, and width of each direction."""


class Recurrent(FreshText):
    """Derive from it, and name the `cell`."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    special: ClassVar[SpecialTokens] = BERT
    cell: ClassVar[type[Any]]
    """torch's layer."""

    size: Literal["tiny", "small", "base"] = "tiny"
    """Layers, and width of each direction: tiny 1 × 64, small 2 × 128, base 2 × 256."""
    tokenizer: Tokenizer = slot("wordpiece")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        layers, width = _SHAPES[self.size]
        return _Reader(type(self).cell, processor.size, layers, width, head.size, self.dropout)


class _Reader(nn.Module):
    """`input_ids` and `attention_mask` [n, tokens] to `logits` [n, labels], by the mean of all tokens' memories.

    The second direction reads the text itself backwards, not its padding, so that an answer does not depend on it.
    """

    def __init__(self, cell: type[Any], ids: int, layers: int, width: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(ids, 2 * width)
        self.forwards, self.backwards = (
            nn.ModuleList(cell(2 * width, width, batch_first=True) for _ in range(layers)) for _ in range(2)
        )
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(2 * width, labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        places = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        mirrored = attention_mask.sum(1, keepdim=True) - 1 - places
        turn = torch.where(mirrored < 0, places, mirrored)
        row = torch.arange(input_ids.shape[0], device=input_ids.device).unsqueeze(1)
        read = self.table(input_ids)
        for ahead, back in zip(self.forwards, self.backwards, strict=True):
            read = self.dropout(read)
            there, _ = ahead(read)
            again, _ = back(read[row, turn])
            read = torch.cat([there, again[row, turn]], -1)
        real = attention_mask.unsqueeze(-1).to(read.dtype)
        return {"logits": self.head(self.dropout((read * real).sum(1) / real.sum(1)))}
