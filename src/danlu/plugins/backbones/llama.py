"""A Llama trained from scratch (Touvron et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from danlu.blocks.fresh_text import FreshTransformer
from danlu.blocks.special_tokens import LLAMA
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import SpecialTokens, Tokenizer, slot

_SHAPES = {"tiny": (2, 128), "mini": (4, 256), "small": (6, 384), "medium": (8, 512), "base": (12, 768)}
"""Layers and width; there is a head of attention for every 64 numbers of width."""
_WHOLE = 64
"""The inner part is rounded up to a multiple of this."""


class Llama(FreshTransformer):
    """Reads from left to right, as today's language models do: angles for positions (RoPE), gates (SwiGLU), RMSNorm.

    Two heads of attention share their keys and values where there are two or more. What is saved is a folder that plain
    transformers loads with the same answers.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input", "next")}
    kind: ClassVar[str] = "llama"
    special: ClassVar[SpecialTokens] = LLAMA
    named: ClassVar[tuple[str, ...]] = ("bos", "eos")

    size: Literal["tiny", "mini", "small", "medium", "base"] = "tiny"
    """Layers and width: tiny 2 × 128, mini 4 × 256, small 6 × 384, medium 8 × 512, base 12 × 768."""
    tokenizer: Tokenizer = slot("bpe")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the attention left out in training; the family has no other."""
    tied: bool = True
    """Whether the table that tokens are read by is also the one that they are written by."""

    def settings(self, processor: TextProcessor) -> dict[str, Any]:
        layers, width = _SHAPES[self.size]
        heads = width // 64
        return {
            "max_position_embeddings": self.positions,
            "num_hidden_layers": layers,
            "hidden_size": width,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2,
            "intermediate_size": -(-width * 8 // 3 // _WHOLE) * _WHOLE,
            "attention_dropout": self.dropout,
            "tie_word_embeddings": self.tied,
            "use_cache": False,
        }
