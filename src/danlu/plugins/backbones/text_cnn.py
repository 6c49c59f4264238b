"""A convolutional network for texts, trained from scratch (Kim, 2014)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.dropout import Dropout
from danlu.blocks.fresh_text import FreshText
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Head, SpecialTokens, Tokenizer, slot

_SHAPES = {"tiny": (64, 32), "small": (128, 100), "base": (300, 100)}
"""Numbers in a token's vector, and filters of each width."""
_WIDTHS = (3, 4, 5)


class TextCnn(FreshText):
    """Filters that look for a few tokens in a row, anywhere in the text: strong where a phrase gives the label away."""

    special: ClassVar[SpecialTokens] = BERT

    size: Literal["tiny", "small", "base"] = "small"
    """Numbers in a token's vector, and filters of each width: tiny 64, 32; small 128, 100; base 300, 100 (Kim's)."""
    tokenizer: Tokenizer = slot("wordpiece")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of what the filters found that is left out in training."""

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        width, filters = _SHAPES[self.size]
        return _Filters(processor.size, width, filters, head.size, self.dropout)


class _Filters(nn.Module):
    """`input_ids` and `attention_mask` [n, tokens] to `logits` [n, labels], by what each filter found at most.

    Padding is like the nothing at a text's ends, so that an answer does not depend on it.
    """

    def __init__(self, ids: int, width: int, filters: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(ids, width)
        self.filters = nn.ModuleList(nn.Conv1d(width, filters, size) for size in _WIDTHS)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(len(_WIDTHS) * filters, labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        real = attention_mask.unsqueeze(1).to(self.table.weight.dtype)
        read = self.table(input_ids).transpose(1, 2) * real
        found = []
        for size, layer in zip(_WIDTHS, self.filters, strict=True):
            around = nn.functional.pad(read, ((size - 1) // 2, size // 2))
            found.append((layer(around).relu() * real).amax(-1))
        return {"logits": self.head(self.dropout(torch.cat(found, -1)))}
