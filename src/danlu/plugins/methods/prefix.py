"""Prefix tuning (Li and Liang, 2021), as P-tuning v2 (Liu et al., 2022): learnt keys and values in every layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import nn

from danlu.blocks import virtual_tokens
from danlu.blocks.adapting import Partial


class Prefix(Partial):
    """Every layer attends to a few learnt keys and values besides the text's own; the model stays.

    For the families whose attention Danlu computes itself: bert, roberta, modernbert, gpt2, llama.
    """

    lr: ClassVar[float] = 5e-3
    gives: ClassVar[Mapping[str, str]] = {"parts": "stay"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "learning": ("descent",), "modality": ("text",), "layers": ("attention",),
    }  # fmt: skip

    tokens: int = Field(default=16, ge=1)
    """How many keys and values in each layer."""

    def changes_structure(self) -> bool:
        return True

    def open_up(self, model: nn.Module) -> None:
        virtual_tokens.add_prefix(model, self.tokens)
