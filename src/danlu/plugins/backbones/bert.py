"""A BERT trained from scratch (Devlin et al., 2019), in the small sizes of Turc et al. (2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from danlu.blocks.fresh_text import FreshTransformer
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import SpecialTokens, Tokenizer, slot

_SHAPES = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "medium": (8, 512), "base": (12, 768)}
"""Layers and width; there is a head of attention for every 64 numbers of width."""


class Bert(FreshTransformer):
    """For texts of a language or a field that no pretrained model knows, and for pre-training of one's own.

    With few labelled rows `pretrained` is better. Word pieces are learnt from the training texts, in lower case. What
    is saved is a folder that plain transformers loads with the same answers.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input", "position", "gap", "vector"),
    }
    kind: ClassVar[str] = "bert"
    special: ClassVar[SpecialTokens] = BERT

    size: Literal["tiny", "mini", "small", "medium", "base"] = "tiny"
    """Layers and width: tiny 2 × 128, mini 4 × 256, small 4 × 512, medium 8 × 512, base 12 × 768."""
    tokenizer: Tokenizer = slot("wordpiece")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""

    def settings(self, processor: TextProcessor) -> dict[str, Any]:
        layers, width = _SHAPES[self.size]
        return {
            "max_position_embeddings": self.positions,
            "num_hidden_layers": layers,
            "hidden_size": width,
            "num_attention_heads": width // 64,
            "intermediate_size": 4 * width,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
        }
