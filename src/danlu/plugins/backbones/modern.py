"""A modern encoder trained from scratch, as ModernBERT is built (Warner et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from danlu.blocks.fresh_text import FreshTransformer
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import SpecialTokens, Tokenizer, slot

_SHAPES = {"tiny": (2, 128), "mini": (4, 256), "small": (6, 384), "medium": (8, 512), "base": (12, 768)}
"""Layers and width; there is a head of attention for every 64 numbers of width."""
_WINDOW = 128


class Modern(FreshTransformer):
    """For long texts: positions are turned into angles (RoPE), two layers of three see the 128 nearest tokens alone.

    Norms come before a layer, its inner part is gated (GeGLU), and a text's answer is the mean of its tokens. What is
    saved is a folder that plain transformers loads with the same answers.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input", "position", "gap", "vector"),
    }
    kind: ClassVar[str] = "modernbert"
    special: ClassVar[SpecialTokens] = BERT
    named: ClassVar[tuple[str, ...]] = ("bos", "eos", "cls", "sep")

    size: Literal["tiny", "mini", "small", "medium", "base"] = "tiny"
    """Layers and width: tiny 2 × 128, mini 4 × 256, small 6 × 384, medium 8 × 512, base 12 × 768."""
    tokenizer: Tokenizer = slot("bpe")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""

    def settings(self, processor: TextProcessor) -> dict[str, Any]:
        layers, width = _SHAPES[self.size]
        return {
            "max_position_embeddings": self.positions,
            "num_hidden_layers": layers,
            "hidden_size": width,
            "num_attention_heads": width // 64,
            "intermediate_size": width * 3 // 2,
            "local_attention": _WINDOW,
            "classifier_pooling": "mean",
            "attention_dropout": self.dropout,
            "embedding_dropout": self.dropout,
            "mlp_dropout": self.dropout,
            "classifier_dropout": self.dropout,
        }
