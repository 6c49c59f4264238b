"""What the moments that a technique works at mean for the rest of its training.

A technique is refused for what it does, not for its name, so these rules are read in three places: by `danlu check`, of
the index; by the guards of a training, of the techniques that it has; and by the table in the reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

MOMENTS = (
    "start", "draw", "vary", "loss", "backward", "after_backward", "before_step", "after_step", "answering", "finish",
)  # fmt: skip
"""The methods of a technique, in the order in which a training calls them."""

_OF_GRADIENTS = ("vary", "loss", "backward", "after_backward", "before_step")
_OF_EVERY_RANK = ("draw", "backward")
_OF_WEIGHTS = ("start", "after_backward", "before_step", "after_step", "answering", "finish")

Named = Sequence[tuple[str, Collection[str]]]
"""The names of techniques, each with the moments it works at, in recipe order."""


class Refusal(NamedTuple):
    """Which technique a training refuses, why, and what to do."""

    name: str
    what: str
    do: str


def against_each_other(techniques: Named) -> Iterator[Refusal]:
    """Two that replace one pass, and one that changes what another takes as it is."""
    replacing = [name for name, moments in techniques if "backward" in moments]
    if len(replacing) > 1:
        what = f"{' and '.join(replacing)} both replace the backward pass, so one of them would do nothing"
        yield Refusal(replacing[1], what, "leave one of them out")
    varying = [name for name, moments in techniques if "vary" in moments]
    if replacing and varying:
        what = f"{varying[0]} changes or mixes examples, and {replacing[0]} takes the gradient of each as it is"
        yield Refusal(varying[0], what, "leave one of them out")


def without_gradients(techniques: Named) -> Iterator[Refusal]:
    """Those that have nothing to change where a model counts."""
    for name, moments in techniques:
        if any(moment in _OF_GRADIENTS for moment in moments):
            what = f"{name} changes losses or gradients, and this model has none: it counts"
            yield Refusal(name, what, f"leave {name} out, or choose a backbone that descends")


def in_fp16(techniques: Named) -> Iterator[Refusal]:
    """Those that take gradients of their own, of losses that fp16 has to scale."""
    for name, moments in techniques:
        if "backward" in moments:
            what = f"{name} replaces the backward pass, whose loss fp16 has to scale"
            yield Refusal(name, what, "precision=fp32")


ALONE = "run it in one process first (without --nproc or torchrun); the next run reuses its result"
WHOLE = "leave --shard out, or"
EIGHT_BITS = "frozen weights are held in eight bits, and shares are made of floating-point weights alone"


def counts(world: int) -> str:
    """Why several processes can't train a model that counts."""
    return f"this model counts instead of descending a gradient, so {world} ranks can't share its training"


def unshared(name: str, does: str) -> str:
    """Why an optimizer does not work on shares of weights."""
    return f"{name} {does}, of which each rank holds a share"


def in_ranks(techniques: Named, world: int) -> Iterator[Refusal]:
    """Those that several processes can't share: they see their own examples, and only gradients are added up."""
    for name, moments in techniques:
        for moment in moments:
            if moment in _OF_EVERY_RANK:
                what = f"{name} replaces the {moment} of a step, which {world} ranks share"
                yield Refusal(name, what, f"leave it out, or {ALONE}")


def in_shares(techniques: Named) -> Iterator[Refusal]:
    """Those that may look at weights, where no process holds a whole one."""
    for name, moments in techniques:
        if found := [moment for moment in moments if moment in _OF_WEIGHTS]:
            what = (
                f"{name} may look at weights or gradients at `{found[0]}`, and with --shard each rank holds a share of "
                "them"
            )
            yield Refusal(name, what, f"{WHOLE} leave {name} out")
