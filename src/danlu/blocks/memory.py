"""How much memory a model's pass keeps, and how much there is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from danlu.core.machine import available_memory


def kept_bytes(call: Callable[[], object], model: nn.Module) -> int:
    """Bytes that autograd keeps for the backward pass of `call`, the model's own weights and buffers left out.

    `call` runs once; what it returns is thrown away.
    """
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        held = tensor.detach()  # the tensor itself would hold the pass that holds it, for ever
        kept.setdefault(held.untyped_storage().data_ptr(), held)
        return held

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be had on a device; on a CPU within the container's limit and without swapping."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
