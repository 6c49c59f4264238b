"""A multilayer perceptron over the mean of a text's token vectors, trained from scratch (Iyyer et al., 2015)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from danlu.blocks.dropout import Dropout
from danlu.blocks.fresh_text import FreshText
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Head, SpecialTokens, Tokenizer, slot

_WIDTHS = {"tiny": (64, 64), "small": (128, 128, 128), "base": (300, 300, 300)}


class TextMlp(FreshText):
    """A bag of tokens with hidden layers (a deep averaging network): no order, a fraction of `lstm`'s time."""

    special: ClassVar[SpecialTokens] = BERT

    size: Literal["tiny", "small", "base"] = "small"
    """Numbers in a token's vector and widths of the layers: tiny 64, 64; small 128, 128, 128; base 300, 300, 300."""
    tokenizer: Tokenizer = slot("wordpiece")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        return _Mean(processor.size, _WIDTHS[self.size], head.size, self.dropout)


class _Mean(nn.Module):
    """`input_ids` and `attention_mask` [n, tokens] to `logits` [n, labels]."""

    def __init__(self, ids: int, widths: tuple[int, ...], labels: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(ids, widths[0])
        layers = ((Dropout(dropout), nn.Linear(a, b), nn.GELU()) for a, b in pairwise(widths))
        self.layers = nn.Sequential(nn.LayerNorm(widths[0]), *(part for layer in layers for part in layer))
        self.head = nn.Linear(widths[-1], labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        real = attention_mask.unsqueeze(-1).to(self.table.weight.dtype)
        mean = (self.table(input_ids) * real).sum(1) / real.sum(1)
        return {"logits": self.head(self.layers(mean))}
