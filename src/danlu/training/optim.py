"""What every optimizer is given and asked for: a rate, clipped gradients, penalties, its state for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from danlu.blocks.gradient_squares import squares_of
from danlu.blocks.table_gradients import used_rows
from danlu.training.sharded import shared_like, whole

_NUMBER = ":number"
"""Ends the name of a state that is a number and no tensor."""


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def penalize(optimizer: torch.optim.Optimizer, *, l1: float, l2: float) -> None:
    """Add the gradient of l1 · Σ|w| + l2 / 2 · Σ w² over the weights that may decay: no biases, no norms."""
    weights = [w for g in optimizer.param_groups if g["decays"] for w in g["params"] if w.grad is not None]
    for weight in weights:
        if l1:
            weight.grad.add_(weight.detach().sign(), alpha=l1)
        if l2:
            weight.grad.add_(weight.detach(), alpha=l2)


def clip(
    optimizer: torch.optim.Optimizer, weights: Iterable[nn.Parameter], limit: float, *, in_place: bool = False
) -> Tensor:
    """Let the next step use gradients whose common norm is at most `limit`; returns the norm before, without waiting.

    A fused kernel is left the division (`grad_scale`), since it reads every gradient anyway: the gradients themselves
    are divided only while it steps. For other optimizers, and `in_place`, they are divided here.
    """
    learning = {w: w.grad for w in weights if w.grad is not None}
    gradients = list(learning.values())
    squares = {w: noted for w, gradient in learning.items() if (noted := squares_of(gradient)) is not None}
    others = [_without_zeros(w, gradient) for w, gradient in learning.items() if w not in squares]
    norm = whole(torch.nn.utils.get_total_norm(others))
    if squares:
        norm = torch.hypot(norm, torch.tensor(math.sqrt(math.fsum(squares.values()))))
    excess = (norm / limit).clamp(min=1.0)
    if getattr(optimizer, "_step_supports_amp_scaling", False) and not in_place:
        optimizer.grad_scale = excess  # type: ignore[attr-defined]
    elif gradients:
        torch._foreach_div_(gradients, excess)
    return norm


def _without_zeros(weight: nn.Parameter, gradient: Tensor) -> Tensor:
    """The gradient, of a large table the rows that a batch had: 0.02 ms for their norm instead of 1.5."""
    rows = used_rows(weight)
    return gradient if rows is None else gradient[rows]


def state(optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What the optimizer keeps, as `weight name/what` → tensor; numbers as exact tensors of no axis."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        for what, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                found[f"{name}/{what}"] = value
            elif isinstance(value, bool | int | float):
                kind = torch.float64 if isinstance(value, float) else None
                found[f"{name}/{what}{_NUMBER}"] = torch.tensor(value, dtype=kind)
            else:
                held = f"{type(optimizer).__name__} keeps a {type(value).__name__} as {what!r} of {name}"
                raise TypeError(f"{held}: an optimizer keeps tensors and numbers")
    return found


def restore(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Give back what `state` gave."""
    for key, tensor in tensors.items():
        name, _, what = key.rpartition("/")
        number = what.endswith(_NUMBER)
        value = tensor.item() if number else shared_like(weights[name], tensor)
        optimizer.state[weights[name]][what.removesuffix(_NUMBER)] = value
