"""Weights, gradients and the optimizer's state in shares, one a rank: FSDP2, `torch.distributed.fsdp.fully_shard`.

Each layer is put together just before its pass and taken apart after it. Gradients are summed, not averaged, as
`ranks.Group.add_up` does it, so that a training has the losses of one process. What leaves the ranks is whole: a
checkpoint is the same file whoever wrote it. torch's own `distributed.checkpoint` is not used, because the plan that it
writes beside the shares (`.metadata`) is a pickle.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from danlu.contracts import Batch
from danlu.training.groups import stacks

if TYPE_CHECKING:
    from danlu.training.job import Job


def cut(module: nn.Module, world: int, device: torch.device) -> nn.Module:
    """A copy of `module` on the device, of which this rank holds its share; all ranks call it together.

    The layers of its lists are put together one at a time, everything else at once. `module` keeps its own weights,
    for `fill_from` at the end.
    """
    whole = copy.deepcopy(module, memo={id(weight): weight for weight in module.parameters()})
    for name, buffer in whole.named_buffers():
        owner, _, own = name.rpartition(".")
        whole.get_submodule(owner)._buffers[own] = buffer.to(device)
    whole.register_forward_hook(_no_bare_weights)
    warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (world,))
    for part in (*(layer for stack in stacks(whole) for layer in stack), whole):
        cut_part: Any = fully_shard(part, mesh=mesh)
        cut_part.set_gradient_divide_factor(1.0)
        cut_part.set_force_sum_reduction_for_comms(enable=True)
    return whole


def _no_bare_weights(module: nn.Module, given: Any, outputs: Any) -> Any:
    """A language model gives its table out for the loss. FSDP leaves a hook on every output, and on a weight, which
    stays, they would pile up."""
    if not isinstance(outputs, dict):
        return outputs
    return {name: value.view_as(value) if isinstance(value, nn.Parameter) else value for name, value in outputs.items()}


def rest(model: nn.Module) -> None:
    """Take apart what a pass without a backward pass has put together; a whole model is left as it is."""
    if isinstance(model, FSDPModule):
        model.reshard()


def whole(tensor: Tensor) -> Tensor:
    """A tensor of all ranks' shares; all ranks call it together. A tensor that is whole stays."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own(tensor: Tensor) -> Tensor:
    """This rank's share of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shared_like(like: Tensor, value: Tensor) -> Tensor:
    """`value` on the device of `like`; where that is a share and `value` whole, this rank's share of it."""
    value = value.to(like.device)
    if not isinstance(like, DTensor) or isinstance(value, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def fill_from(model: nn.Module, module: nn.Module) -> None:
    """Give `module` the whole weights and buffers of the shared `model`; all ranks call it together."""
    with torch.no_grad():
        found = model.state_dict()
        for name, tensor in module.state_dict(keep_vars=True).items():
            tensor.copy_(whole(found[name]))


def evened(batches: list[Batch], job: Job) -> list[Batch]:
    """As many batches in every rank, since FSDP meets in every pass; those added have a `count` of 0."""
    more = job.ranks.greatest(len(batches)) - len(batches)
    added: list[Batch] = [job.task.collate([job.train[0]], job.processor) for _ in range(more)]
    for batch in added:
        batch.count = batch.count * 0
    return [*batches, *added]


def wholes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`whole` of each."""
    return {name: whole(tensor) for name, tensor in tensors.items()}
