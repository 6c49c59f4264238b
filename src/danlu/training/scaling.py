"""Losses times a factor, so that small gradients do not vanish in fp16 (Micikevicius et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from danlu.contracts import Technique
from danlu.core.errors import RecipeError
from danlu.training import guards, optim
from danlu.training.guards import DivergedError

_MOST = 25
"""Steps skipped one after another, from which on no factor will do: 2^16 is halved that often."""


class Scaling:
    """torch's `GradScaler`: the factor falls at gradients that are not finite, whose step is skipped, and grows again.

    `skipped` counts those steps. Raises RecipeError for a device that torch scales no gradients for, and for a
    technique that takes gradients of its own.
    """

    def __init__(self, device: torch.device, techniques: Sequence[Technique] = ()) -> None:
        if device.type not in ("cpu", "cuda"):
            what = f"fp16 needs its gradients scaled, and torch does not do that on {device.type}"
            raise RecipeError(what, where="precision", do="precision=auto")
        guards.check_scaled(techniques)
        self._scaler = torch.amp.GradScaler(device.type)
        self._scaler.scale(torch.zeros((), device=device))  # a step without examples asks for no loss
        self.skipped, self._in_a_row = 0, 0

    def up(self, loss: Tensor) -> Tensor:
        """The loss whose gradient is taken."""
        return self._scaler.scale(loss)

    def down(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the gradients of an optimizer the size they have without the factor."""
        self._scaler.unscale_(optimizer)

    def step(
        self, optimizer: torch.optim.Optimizer, weights: Iterable[nn.Parameter], clip: float | None
    ) -> tuple[bool, Tensor | None]:
        """Move the weights where all gradients are finite; returns whether they are, and their norm before clipping.

        Raises DivergedError when no step was finite for a long time.
        """
        norm = optim.clip(optimizer, weights, clip, in_place=True) if clip else None
        before = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        moved = self._scaler.get_scale() >= before
        self.skipped += not moved
        self._in_a_row = 0 if moved else self._in_a_row + 1
        if self._in_a_row >= _MOST:
            what = f"the gradients of {_MOST} steps in a row are not finite in fp16"
            raise DivergedError(what, where="training", do="precision=bf16, precision=fp32, or a lower lr")
        return moved, norm if moved else None

    def notes(self) -> dict[str, Any]:
        """What a checkpoint holds, JSON values."""
        return {"scaler": self._scaler.state_dict(), "skipped": [self.skipped, self._in_a_row]}

    def restore(self, notes: dict[str, Any]) -> None:
        """Give back what `notes` gave."""
        self._scaler.load_state_dict(notes["scaler"])
        self.skipped, self._in_a_row = notes["skipped"]
