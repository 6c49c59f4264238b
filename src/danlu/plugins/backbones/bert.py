"""A BERT trained from scratch (Devlin et al., 2019), in the small sizes of Turc et al. (2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from danlu.blocks import hf
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Backbone, Head

if TYPE_CHECKING:
    from torch import nn

_SHAPES = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "medium": (8, 512), "base": (12, 768)}
"""Layers and width; there is a head of attention for every 64 numbers of width."""


class Bert(Backbone):
    """For texts of a language or a field that no pretrained model knows, and for pre-training of one's own.

    With few labelled rows `pretrained` is better. Word pieces are learnt from the training texts, in lower case. What
    is saved is a folder that plain transformers loads with the same answers.
    """

    main: ClassVar[str] = "size"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input", "gap")}
    processor_class: ClassVar[type[Any]] = TextProcessor

    size: Literal["tiny", "mini", "small", "medium", "base"] = "tiny"
    """Layers and width: tiny 2 × 128, mini 4 × 256, small 4 × 512, medium 8 × 512, base 12 × 768."""
    vocabulary: int = Field(default=8000, ge=100)
    """How many word pieces it knows at most."""
    positions: int = Field(default=512, ge=8)
    """How many tokens it can take; longer texts are cut."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the features and of the attention left out in training."""

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        return TextProcessor.learn(inputs, self.vocabulary, self.positions)

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        layers, width = _SHAPES[self.size]
        return hf.from_scratch(
            "bert",
            head,
            processor.pad_id,
            dropout=self.dropout,
            vocab_size=processor.size,
            max_position_embeddings=self.positions,
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
        )

    def save(self, folder: Path, module: nn.Module, processor: TextProcessor) -> None:
        hf.write_config(folder, module)
        processor.save(folder)

    def embeddings(self, module: nn.Module) -> list[nn.Module]:
        return [module.get_input_embeddings()]  # type: ignore[operator]
