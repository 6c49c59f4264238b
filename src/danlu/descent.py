"""The promises of what moves weights against their gradients; to be imported from `contracts.py`."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from danlu.core.settings import Plugin

if TYPE_CHECKING:
    import torch


class Optimizer(Plugin):
    """How gradients become a step of the weights. It never knows task, schedule or loop.

    A step must be a function of weights, gradients and what `torch.optim.Optimizer.state` keeps of a weight: tensors
    and numbers, which checkpoints hold. Nothing random.
    """

    family: ClassVar[str] = "optimizers"
    lr_scale: ClassVar[float] = 1.0
    """Its learning rate where a recipe names none, as a multiple of the one for `adamw`."""
    weight_decay: ClassVar[float] = 0.0
    """Its decay where a recipe names none."""
    state_per_weight: ClassVar[float] = 1.0
    """Numbers that it keeps of a weight of a large matrix."""
    unshared: ClassVar[str] = ""
    """What it does that needs whole weights, so that processes can't hold shares of them; empty where nothing."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """torch's optimizer over these groups, each of at least one weight.

        A group has `params`, `lr` (set anew before every step), `weight_decay` (0 for biases and norms), and `matrix`:
        whether its weights are matrices between hidden layers, neither an embedding nor the head.
        """


class Schedule(Plugin):
    """The learning rate as a function of the step alone, so that a resume needs no state of it.

    All numbers are factors of the highest rate, above 0 and at most 1.
    """

    family: ClassVar[str] = "schedules"
    warmup: ClassVar[float] = 0.06
    """Its share of warm-up where a recipe names none."""

    def rise(self, step: int, steps: int) -> float:
        """The factor of `step` (from 0) of a warm-up of `steps` steps; equal parts unless it says otherwise."""
        return (step + 1) / steps

    @abstractmethod
    def fall(self, step: int, steps: int, risen: int) -> float:
        """The factor of `step` (from 0) of the `steps` steps that follow a warm-up of `risen` steps."""
