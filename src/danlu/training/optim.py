"""One AdamW a turn, and the clipping of its gradients, both in as few passes over the weights as they allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def adamw(weights: Mapping[str, nn.Parameter], lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW (Loshchilov and Hutter, 2019); only weights of two or more axes decay, so no bias and no norm."""
    decaying = [w for w in weights.values() if w.ndim >= 2]
    others = [w for w in weights.values() if w.ndim < 2]
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def clip(optimizer: torch.optim.Optimizer, weights: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Let the next step use gradients whose common norm is at most `limit`; returns the norm before, without waiting.

    The division is left to the fused kernel (`grad_scale`), which reads every gradient anyway: the gradients
    themselves are divided only while it steps.
    """
    gradients = [w.grad for w in weights if w.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    optimizer.grad_scale = (norm / limit).clamp(min=1.0)  # type: ignore[attr-defined]
    return norm


def state(optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What the optimizer keeps, as `weight name/what` → tensor."""
    kept = optimizer.state
    return {f"{name}/{what}": t for name, w in weights.items() for what, t in kept.get(w, {}).items()}


def restore(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Give back what `state` gave."""
    for key, tensor in tensors.items():
        name, _, what = key.rpartition("/")
        optimizer.state[weights[name]][what] = tensor.to(weights[name].device)
