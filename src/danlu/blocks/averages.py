"""Averages of a model's weights and buffers over a training, and how they are shown in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from danlu.blocks.tensors import evaluating
from danlu.contracts import Batch


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of each tensor."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def move(average: Mapping[str, Tensor], tensors: Mapping[str, Tensor], share: float) -> None:
    """Move an average by `share` of the way to the tensors; whole numbers, such as counts, are taken over."""
    moving = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([average[n] for n in moving], [tensors[n].detach() for n in moving], share)
    for name in tensors.keys() - set(moving):
        average[name].copy_(tensors[name])


@torch.no_grad()
def swap(average: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Exchange the values of an average and of the tensors."""
    for name, tensor in tensors.items():
        own = tensor.clone()
        tensor.copy_(average[name])
        average[name].copy_(own)


@torch.no_grad()
def measure_norms(model: nn.Module, batches: Iterable[Batch], forward: Any) -> None:
    """Set the running means and variances of batch norms to those of these batches; the model may have none."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True
        for batch in batches:
            forward(model, batch)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False
