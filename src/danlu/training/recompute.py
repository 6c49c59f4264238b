"""Gradient checkpointing: activations inside a layer are not kept but computed again (Chen et al., 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from danlu.core.errors import RecipeError
from danlu.training.groups import stacks

_CACHES = ("past_key_values", "past_key_value", "layer_past")


@contextmanager
def recomputed(model: nn.Module, *, wanted: bool) -> Iterator[None]:
    """Within the block, each layer of the model's list keeps its inputs alone for the backward pass.

    Gradients are the same to the bit, since the random numbers of a layer come again; a step takes about a third
    longer. Raises RecipeError for a model without a list of layers, and for layers with batch norm, whose averages
    would move twice.
    """
    layers = [layer for stack in stacks(model) for layer in stack] if wanted else []
    if wanted and not layers:
        what = "checkpointing needs a list of layers, and the model has none"
        raise RecipeError(what, where="checkpointing", do="leave checkpointing out")
    if any(isinstance(part, _BatchNorm) for layer in layers for part in layer.modules()):
        what = "the model's layers have batch norm, whose averages would move twice at every step"
        raise RecipeError(what, where="checkpointing", do="leave checkpointing out")
    for layer in layers:
        layer.forward = _again(layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **options)
        options |= {name: None for name in _CACHES if name in options}  # a cache would be filled twice
        return checkpoint(forward, *args, use_reentrant=False, **options)

    return call
