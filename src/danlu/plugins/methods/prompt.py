"""Prompt tuning (Lester et al., 2021): learnt vectors stand among the words of every text, the model stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import nn

from danlu.blocks import virtual_tokens
from danlu.blocks.adapting import Partial


class Prompt(Partial):
    """The least that can be trained: some thousand numbers and the head. Small models gain little from it alone."""

    lr: ClassVar[float] = 1e-2
    gives: ClassVar[Mapping[str, str]] = {"parts": "stay", "trained": "tokens"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "learning": ("descent",), "modality": ("text",), "head": ("input",), "layers": ("attention",),
    }  # fmt: skip

    tokens: int = Field(default=20, ge=1)
    """How many virtual tokens."""

    def changes_structure(self) -> bool:
        return True

    def open_up(self, model: nn.Module) -> None:
        virtual_tokens.add_prompt(model, self.tokens, 0, self.name)
