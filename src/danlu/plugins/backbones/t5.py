"""A T5 trained from scratch (Raffel et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from danlu.blocks import decoder_cache
from danlu.blocks.fresh_text import FreshTransformer
from danlu.blocks.special_tokens import T5 as TOKENS
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Arrays, Example, SpecialTokens, Tokenizer, slot

if TYPE_CHECKING:
    from torch import nn

_SHAPES = {"tiny": (2, 128), "mini": (3, 256), "small": (4, 384), "medium": (6, 512), "base": (12, 768)}
"""Layers of each stack and width; there is a head of attention for every 64 numbers of width."""


class T5(FreshTransformer):
    """Reads a text with one stack of layers and writes another from it with a second: translation, summaries.

    Positions are distances, learnt for each head of attention. What is saved is a folder that plain transformers loads
    with the same answers.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("sequence",)}
    kind: ClassVar[str] = "t5"
    special: ClassVar[SpecialTokens] = TOKENS
    named: ClassVar[tuple[str, ...]] = ("eos",)

    size: Literal["tiny", "mini", "small", "medium", "base"] = "tiny"
    """Layers of each stack and width: tiny 2 × 128, mini 3 × 256, small 4 × 384, medium 6 × 512, base 12 × 768."""
    tokenizer: Tokenizer = slot("bpe")
    """How it cuts texts, both those it reads and those it writes; learnt from the training texts unless `taken` from
    another model."""

    def settings(self, processor: TextProcessor) -> dict[str, Any]:
        layers, width = _SHAPES[self.size]
        return {
            "num_layers": layers,
            "d_model": width,
            "d_kv": 64,
            "num_heads": width // 64,
            "d_ff": 4 * width,
            "dropout_rate": self.dropout,
            "decoder_start_token_id": processor.pad_id,
            "use_cache": False,
        }

    def embeddings(self, module: nn.Module) -> list[nn.Module]:
        """The encoder's; the decoder's is another module with the same weight."""
        return [module.get_encoder().get_input_embeddings()]  # type: ignore[operator]

    def resume(self, module: nn.Module, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
        return decoder_cache.resume(module, examples)
