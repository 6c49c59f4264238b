"""One training in several processes: each takes its share of every step, and their gradients are added up.

`Ranks` is the whole of what the loop knows of them; in one process nothing it does costs anything. Gradients are added
up after the backward passes, by collectives of our own: torch's DistributedDataParallel hooks into one forward and one
backward pass of one module, and a step here may have several of them (turns, adversaries, `run.again`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from danlu.core.errors import MachineError
from danlu.core.launch import Place
from danlu.training.roll import Roll

BUCKET = 2**22
"""Numbers that are added up at once."""


class Ranks:
    """The processes of a training: `rank` is this one's number, `world` how many there are. Here, only this one.

    `sharded`: each holds its share of the weights alone, see `danlu.training.sharded`.
    """

    rank, world, sharded = 0, 1, False

    @property
    def own(self) -> tuple[int, ...]:
        """What makes this rank's random numbers its own; nothing for rank 0, so that one process draws as ever."""
        return (self.rank,) if self.rank else ()

    def call(self, task: dict[str, Any]) -> None:
        """Rank 0 tells the others what all of them do next."""

    def check_same(self, what: str, text: str) -> None:
        """Raise MachineError naming a rank that says something else than rank 0."""

    def share(self, model: nn.Module) -> None:
        """Give all ranks the weights and buffers of rank 0."""

    def of_first(self, ask: Callable[[], float]) -> float:
        """The number that rank 0 finds; the others wait for it."""
        return ask()

    def sum(self, number: float) -> float:
        """The sum of a number over the ranks."""
        return number

    def greatest(self, number: int) -> int:
        """The greatest of the ranks' numbers."""
        return number

    def add_up(self, weights: Sequence[Tensor], said: Tensor) -> Tensor:
        """Replace every gradient by its sum over the ranks; returns the sum of `said`. A weight without a gradient in
        any rank keeps none."""
        return said


ALONE = Ranks()


class Group(Ranks):
    """Ranks that are joined by torch.distributed: gloo for tensors of the CPU, NCCL for those of CUDA."""

    def __init__(self, place: Place) -> None:
        self.rank, self.world, self.sharded = place.rank, place.world, place.sharded
        self.roll = Roll(place)
        wait = timedelta(seconds=place.timeout)
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(place.local)
        with self._meeting():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                store=dist.PrefixStore("group", self.roll.store),  # type: ignore[attr-defined]
                rank=self.rank,
                world_size=self.world,
                timeout=wait,
            )

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        """A place where all ranks meet: one that does not come is named in a MachineError."""
        self.roll.arrive()
        try:
            yield
        except RuntimeError as fault:
            raise self.roll.missed(fault) from fault

    def call(self, task: dict[str, Any]) -> None:
        self.roll.call(task)

    def check_same(self, what: str, text: str) -> None:
        mine = torch.tensor([int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)])
        found = [torch.zeros_like(mine) for _ in range(self.world)]
        with self._meeting():
            dist.all_gather(found, mine)
        other = [rank for rank, one in enumerate(found) if not torch.equal(one, found[0])]
        if other:
            told = f"rank {other[0]} has another {what} than rank 0"
            do = "start all ranks with the same recipe, the same versions and one store that all of them reach"
            raise MachineError(told, where="training", do=do)

    def share(self, model: nn.Module) -> None:
        with self._meeting():
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def of_first(self, ask: Callable[[], float]) -> float:
        found = torch.tensor([ask() if self.rank == 0 else 0.0], dtype=torch.float64)
        with self._meeting():
            dist.broadcast(found, 0)
        return float(found)

    def sum(self, number: float) -> float:
        found = torch.tensor([number], dtype=torch.float64)
        with self._meeting():
            dist.all_reduce(found)
        return float(found)

    def greatest(self, number: int) -> int:
        found = torch.tensor([number])
        with self._meeting():
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def add_up(self, weights: Sequence[Tensor], said: Tensor) -> Tensor:
        if self.sharded:  # the backward passes have added up the gradients
            weights = ()
        without = [weight for weight in weights if weight.grad is None]
        for weight in without:
            weight.grad = torch.zeros_like(weight)
        told = torch.cat([said.float().reshape(1), _ones(weights, without)])
        with self._meeting(), torch.no_grad():
            for bucket in _buckets([told, *(weight.grad for weight in weights if weight.grad is not None)]):
                _add_up(bucket)
        if without:
            nowhere = {id(weight) for weight, ranks in zip(weights, told[1:].tolist(), strict=True) if not ranks}
            for weight in without:
                if id(weight) in nowhere:
                    weight.grad = None
        return told[0]

    def leave(self, fault: BaseException | None) -> None:
        """Tell the others how this rank ended, and go."""
        with suppress(RuntimeError):
            self.roll.leave(fault)
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _ones(weights: Sequence[Tensor], without: Sequence[Tensor]) -> Tensor:
    """For every weight 1, or 0 where it has no gradient here."""
    lacking = {id(weight) for weight in without}
    told = [float(id(weight) not in lacking) for weight in weights]
    return torch.tensor(told, device=weights[0].device if weights else None)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, together while they are of one type and not too many numbers."""
    bucket, held = list[Tensor](), 0
    for tensor in tensors:
        if bucket and (held + tensor.numel() > BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, held = [], 0
        bucket.append(tensor)
        held += tensor.numel()
    if bucket:
        yield bucket


def _add_up(bucket: list[Tensor]) -> None:
    if len(bucket) == 1 and bucket[0].is_contiguous():
        dist.all_reduce(bucket[0])
        torch.autograd.graph.increment_version(bucket[0])  # `kept_gradients` must see that it was written into
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
    dist.all_reduce(flat)
    for tensor, part in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
        tensor.copy_(part.view_as(tensor))


_present: list[Ranks] = [ALONE]


def present() -> Ranks:
    """The ranks that this process is one of; itself alone outside `joined`."""
    return _present[-1]


@contextmanager
def joined(place: Place) -> Iterator[Group]:
    """Meet the other ranks, and tell them at the end how it went. Raises MachineError naming one that does not come."""
    group = Group(place)
    _present.append(group)
    fault: BaseException | None = None
    try:
        yield group
    except BaseException as error:
        fault = error
        raise
    finally:
        _present.pop()
        group.leave(fault)
