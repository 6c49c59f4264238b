"""Muon: steps of hidden matrices are made orthogonal (Jordan et al., 2024; Liu et al., 2025)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from danlu.contracts import Optimizer
from danlu.core.errors import RecipeError

Share = Annotated[float, Field(ge=0, lt=1)]


class Muon(Optimizer):
    """Matrices between hidden layers go to Muon; embeddings, the head, norms, biases and convolutions to AdamW.

    Its steps have the root mean square of AdamW's, so both take the same rate and decoupled decay. One number is kept
    of a hidden weight, two of the others; a step costs a few products of matrices more.
    """

    weight_decay: ClassVar[float] = 0.1

    momentum: Share = 0.95
    """How much of the last mean gradient of a hidden matrix is kept."""
    nesterov: bool = True
    """Look ahead along the momentum."""
    iterations: int = Field(default=5, ge=1, le=99)
    """Newton–Schulz iterations towards an orthogonal matrix."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """AdamW's, for the other weights."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        matrices = [group for group in groups if group["matrix"]]
        others = [group for group in groups if not group["matrix"]]
        if not matrices:
            what = "muon moves matrices between hidden layers, and none is trained here"
            raise RecipeError(what, where="optimizer", do="optimizer=adamw")
        options: dict[str, Any] = {"ns_steps": self.iterations, "adjust_lr_fn": "match_rms_adamw"}
        muon = torch.optim.Muon(matrices, momentum=self.momentum, nesterov=self.nesterov, **options)
        adamw = [torch.optim.AdamW(others, betas=self.betas, fused=True)] if others else []
        return _Together([muon, *adamw])


class _Together(torch.optim.Optimizer):
    """Several optimizers as one: their groups, their state, one step."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        groups = [group for part in parts for group in part.param_groups]
        super().__init__(groups, {})
        self.param_groups = groups
        self._parts = parts
        for part in parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for part in self._parts:
            part.step()
