"""P-tuning (Liu et al., 2021): virtual tokens made by a small network, which is easier to train than they alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import nn

from danlu.blocks import virtual_tokens
from danlu.blocks.adapting import Partial


class PTuning(Partial):
    """As `prompt`, with a network of three layers between the learnt vectors and the model."""

    lr: ClassVar[float] = 1e-3
    gives: ClassVar[Mapping[str, str]] = {"parts": "stay", "trained": "tokens"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "learning": ("descent",), "modality": ("text",), "head": ("input",), "layers": ("attention",),
    }  # fmt: skip

    tokens: int = Field(default=20, ge=1)
    """How many virtual tokens."""
    inner: int = Field(default=128, ge=1)
    """Width of the network."""

    def changes_structure(self) -> bool:
        return True

    def open_up(self, model: nn.Module) -> None:
        virtual_tokens.add_prompt(model, self.tokens, self.inner, self.name)
