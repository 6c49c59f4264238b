"""A RoBERTa trained from scratch (Liu et al., 2019): a BERT without the second segment, on bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from danlu.blocks.fresh_text import FreshTransformer
from danlu.blocks.special_tokens import ROBERTA
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import SpecialTokens, Tokenizer, slot

_SHAPES = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "medium": (8, 512), "base": (12, 768)}
"""Layers and width; there is a head of attention for every 64 numbers of width."""


class Roberta(FreshTransformer):
    """For texts where case, accents and spaces matter: byte-level pieces spell any text and lose nothing of it.

    With few labelled rows `pretrained` is better. What is saved is a folder that plain transformers loads with the same
    answers.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input", "position", "gap", "vector"),
    }
    kind: ClassVar[str] = "roberta"
    special: ClassVar[SpecialTokens] = ROBERTA
    named: ClassVar[tuple[str, ...]] = ("bos", "eos")

    size: Literal["tiny", "mini", "small", "medium", "base"] = "tiny"
    """Layers and width: tiny 2 × 128, mini 4 × 256, small 4 × 512, medium 8 × 512, base 12 × 768."""
    tokenizer: Tokenizer = slot("bpe")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""

    def settings(self, processor: TextProcessor) -> dict[str, Any]:
        layers, width = _SHAPES[self.size]
        return {
            "max_position_embeddings": self.positions + processor.pad_id + 1,  # its positions begin after padding's
            "type_vocab_size": 1,
            "num_hidden_layers": layers,
            "hidden_size": width,
            "num_attention_heads": width // 64,
            "intermediate_size": 4 * width,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
        }
