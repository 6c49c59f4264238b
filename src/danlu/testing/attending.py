"""The smallest transformer, for methods that need one: a BERT of one layer that plays a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from danlu.blocks.fresh_text import FreshTransformer
from danlu.blocks.special_tokens import BERT
from danlu.contracts import Head, SpecialTokens, Tokenizer, slot

if TYPE_CHECKING:
    from torch import nn


class Attending(FreshTransformer):
    """For tests of methods: all but the head passes for weights that were trained before, and the head for gaps too."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input", "position", "gap")}
    kind: ClassVar[str] = "bert"
    special: ClassVar[SpecialTokens] = BERT
    tokenizer: Tokenizer = slot("wordpiece")

    def settings(self, processor: Any) -> dict[str, Any]:
        """One layer of width 128."""
        shape = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        wide = {"initializer_range": 0.5}  # so that the first token's output tells texts apart from the start
        return shape | wide | {"max_position_embeddings": self.positions, "hidden_dropout_prob": 0.0}

    def start(self, head: Head, processor: Any) -> tuple[nn.Module, list[str]]:
        module, fresh = super().start(head, processor)
        if head.per == "gap":
            return module, []
        return module, [name for name in fresh if name.startswith(("classifier", "cls", "bert.pooler"))]
