"""A GPT-2 trained from scratch (Radford et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from danlu.blocks.fresh_text import FreshTransformer
from danlu.blocks.special_tokens import GPT2
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import SpecialTokens, Tokenizer, slot

_SHAPES = {"tiny": (2, 128), "mini": (4, 256), "small": (6, 384), "medium": (8, 512), "base": (12, 768)}
"""Layers and width; there is a head of attention for every 64 numbers of width."""


class Gpt2(FreshTransformer):
    """Reads from left to right, so a text's answer is that of its last token; made to go on writing.

    What is saved is a folder that plain transformers loads with the same answers.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input", "next")}
    kind: ClassVar[str] = "gpt2"
    special: ClassVar[SpecialTokens] = GPT2
    named: ClassVar[tuple[str, ...]] = ("bos", "eos")

    size: Literal["tiny", "mini", "small", "medium", "base"] = "tiny"
    """Layers and width: tiny 2 × 128, mini 4 × 256, small 6 × 384, medium 8 × 512, base 12 × 768."""
    tokenizer: Tokenizer = slot("bpe")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""

    def settings(self, processor: TextProcessor) -> dict[str, Any]:
        layers, width = _SHAPES[self.size]
        return {
            "n_positions": self.positions,
            "n_layer": layers,
            "n_embd": width,
            "n_head": width // 64,
            "resid_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "attn_pdrop": self.dropout,
            "use_cache": False,
        }
