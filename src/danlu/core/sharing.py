"""What a training refuses, told of the recipe before it begins: in any run, and in several processes (`--nproc`).

The rules are those that the guards of a training hold (`core.moments`), read here of the index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from danlu.core import moments
from danlu.core.combine import Chosen, met
from danlu.core.errors import Fault
from danlu.core.plan import Step


class Ranks(NamedTuple):
    """How many processes train, and whether each holds a share of the weights alone."""

    world: int = 1
    sharded: bool = False


ALONE = Ranks()


def in_any_run(own: Sequence[Chosen], above: Sequence[Chosen]) -> list[Fault]:
    """A fault for every technique of a step that its precision, its backbone or another technique does not go with."""
    techniques = _techniques(own)
    refused = [*moments.against_each_other(techniques)]
    if any(one.choice.settings.get("precision") == "fp16" for one in own if one.choice.family == "stages"):
        refused += moments.in_fp16(techniques)
    if _counts(own, above):
        refused += moments.without_gradients([one for one in techniques if one[0] not in _contradicted(own)])
    return _placed(refused, own)


def in_several(steps: Iterable[Step], ranks: Ranks, but: Collection[str] = ()) -> list[Fault]:
    """A fault for everything in the trainings of a recipe that so many processes can't share.

    `but` are steps that are not run, since their result is there.
    """
    found = [(own, above) for step, (own, above) in met(steps).items() if step not in but]
    return [fault for own, above in found for fault in _of_step(own, above, ranks)] if ranks.world > 1 else []


def _of_step(own: Sequence[Chosen], above: Sequence[Chosen], ranks: Ranks) -> list[Fault]:
    stage = own[0]
    if not stage.entry.facts.get("in_ranks") or not all(one.trains for one in own):
        return []
    faults = [
        Fault(f"{stage.where}.{option}", f"{option} are trained in one process", f"leave --nproc out, or {option}=null")
        for option in stage.entry.facts.get("alone_with", ())
        if stage.choice.settings.get(option) is not None
    ]
    if _counts(own, above):
        return [*faults, Fault(f"{stage.where}.backbone", moments.counts(ranks.world), moments.ALONE)]
    faults += _placed(moments.in_ranks(_techniques(own), ranks.world), own)
    return [*faults, *_of_shares(own)] if ranks.sharded else faults


def _of_shares(own: Sequence[Chosen]) -> list[Fault]:
    faults = _placed(moments.in_shares(_techniques(own)), own)
    for one in own:
        for option in one.entry.facts.get("whole_with", ()):
            if one.choice.settings.get(option) is not None:
                where = f"{one.where}.{one.choice.name}.{option}"
                faults.append(Fault(where, moments.EIGHT_BITS, f"{moments.WHOLE} {where}=null"))
        if does := one.entry.facts.get("unshared"):
            do = f"{moments.WHOLE} {one.where}=adamw"
            faults.append(Fault(one.where, moments.unshared(one.choice.name, does), do))
    return faults


def _techniques(own: Sequence[Chosen]) -> moments.Named:
    """What works at the moments of a step, the method's own techniques first."""
    return [
        (one.choice.name, one.entry.facts["moments"])
        for family in ("methods", "techniques")
        for one in own
        if one.choice.family == family and one.entry.facts.get("moments")
    ]


def _counts(own: Sequence[Chosen], above: Sequence[Chosen]) -> bool:
    return any(one.gives.get("learning") == "counting" for one in (*own, *above) if one.choice.family == "backbones")


def _contradicted(own: Sequence[Chosen]) -> set[str]:
    """The techniques whose own wants say already that they go with no model that counts."""
    return {one.choice.name for one in own if "descent" in one.entry.wants.get("learning", ())}


def _placed(refused: Iterable[moments.Refusal], own: Sequence[Chosen]) -> list[Fault]:
    """Refusals as faults, each in the slot of its plug-in; what one refuses twice over is told once."""
    slots = {one.choice.name: one.where for one in own if one.choice.family in ("methods", "techniques")}
    told = {refusal.name: Fault(slots[refusal.name], refusal.what, refusal.do) for refusal in refused}
    return list(told.values())
