"""The border between numpy (outside) and torch (inside a training step or a torch form)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.contracts import Arrays, Batch


def to_torch(batch: Batch, device: str | torch.device = "cpu") -> Batch:
    """The batch with every array as a tensor on `device`; on the CPU a tensor shares the array's memory."""
    return batch.map(lambda array: tensor(array, device))


def tensor(array: Any, device: str | torch.device = "cpu") -> Tensor:
    """One array as a tensor on `device`; to CUDA it is copied from pinned memory, while the caller goes on."""
    found = torch.from_numpy(np.ascontiguousarray(array))
    if torch.device(device).type == "cuda":
        found = found.pin_memory()
    return found.to(device, non_blocking=True)


def to_numpy(arrays: Arrays) -> dict[str, Any]:
    """Every tensor as a numpy array, bfloat16 and float16 as float32; what is not a tensor is left out."""
    found = {name: value.detach().cpu() for name, value in arrays.items() if isinstance(value, Tensor)}
    half = (torch.bfloat16, torch.float16)
    return {name: (value.float() if value.dtype in half else value).numpy() for name, value in found.items()}


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode inside, and each part's own mode again afterwards."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def state(module: nn.Module) -> Mapping[str, Tensor]:
    """Parameters and persistent buffers by name, as they are (not detached, not copied)."""
    return module.state_dict(keep_vars=True)


def width(x: Tensor) -> torch.dtype:
    """The type that products of x are made in here, whatever x has: autocast narrows what reaches a product."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
