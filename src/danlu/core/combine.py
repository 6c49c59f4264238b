"""Whether the plug-ins of a recipe go together: what one gives is compared with what another wants, as data.

A plug-in says `gives = {"modality": "text"}` and `wants = {"modality": ("text",)}`. A want is about everything its own
step chooses and everything the steps it builds on chose. It is contradicted by a giver of another value; a fact that
nobody gives contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from danlu.core import plugin
from danlu.core.errors import Fault
from danlu.core.resolve import Choice

if TYPE_CHECKING:
    from danlu.core.plan import Step


class Chosen(NamedTuple):
    """A plug-in and the path of the slot it was chosen in."""

    where: str
    choice: Choice

    @property
    def entry(self) -> plugin.Entry:
        return self.choice.entry

    @property
    def gives(self) -> Mapping[str, str]:
        """The facts it gives, those of its options' values (`gives_when`) among them."""
        settings, told = self.choice.settings, self.entry.facts.get("gives_when", ())
        own = {fact: gives for option, value, fact, gives in told if settings.get(option) == value}
        return {**self.entry.gives, **own}

    @property
    def trains(self) -> bool:
        """Whether it is no method that is told to train nothing (`nothing_when`)."""
        when = self.entry.facts.get("nothing_when")
        return when is None or any(self.choice.settings.get(option) != value for option, value in when.items())


def chosen_in(step: str, stage: Choice) -> list[Chosen]:
    """A step's stage and all plug-ins in its slots."""
    return [Chosen(step, stage), *(Chosen(where, choice) for where, choice in stage.nested(step))]


def met(steps: Iterable[Step]) -> dict[str, tuple[list[Chosen], list[Chosen]]]:
    """Step name → its own plug-ins, and those that were chosen above for what it takes."""
    whole: dict[str, list[Chosen]] = {}
    found = {}
    for step in steps:
        own = chosen_in(step.name, step.stage)
        above = [one for need in step.inputs for one in _told_by(step, need, whole)]
        whole[step.name] = own + [one for one in above if one not in own]
        found[step.name] = own, above
    return found


def _told_by(step: Step, need: str, chosen: Mapping[str, list[Chosen]]) -> list[Chosen]:
    """What an input says of itself: all that was chosen for it; of one that stands for an option, that option.

    One that is used only where it is named (`??`, `$step`) binds nobody else.
    """
    found, facts = chosen[step.inputs[need]], step.stage.entry.facts
    if need.startswith("$"):
        return []
    if option := facts.get("in_place_of", {}).get(need):
        return [one for one in found if one.where.split(".")[-1] == option]
    return [] if facts["needs"][need].endswith("??") else found


def contradictions(own: Sequence[Chosen], above: Sequence[Chosen]) -> list[Fault]:
    """A fault for every want of a step's `own` plug-ins that another of them, or one chosen `above`, contradicts."""
    faults = []
    for wanting in own:
        if (whole := _whole(wanting, own)) is not None:
            faults += [_unfit(wanting, *fact) for fact in whole.items() if fact[1] not in _wanted(wanting, *fact)]
            continue
        others = [giver for giver in (*own, *above) if giver.choice is not wanting.choice]
        for fact, wanted in wanting.entry.wants.items():
            against = [giver for giver in others if giver.gives.get(fact, wanted[0]) not in wanted]
            if against:
                faults.append(_fault(wanting, fact, wanted, against[0], others))
    return faults


def _whole(part: Chosen, own: Sequence[Chosen]) -> Mapping[str, str] | None:
    """What a plug-in inside another one meets there, where that one says so (`parts`), instead of the step's facts."""
    slots = ((f"{one.where}.{one.choice.name}", one.entry.facts.get("parts") or {}) for one in own)
    return next(
        (told[part.where[len(at) + 1 :]] for at, told in slots if part.where in {f"{at}.{s}" for s in told}), None
    )


def _wanted(part: Chosen, fact: str, value: str) -> Sequence[str]:
    return part.entry.wants.get(fact, (value,))


def _unfit(part: Chosen, fact: str, value: str) -> Fault:
    what = f"{part.choice.name} wants {fact} = {' or '.join(part.entry.wants[fact])}, and here it meets {value}"
    fits = ", ".join(entry.name for entry in fitting(part.choice.family, {fact: value}))
    return Fault(part.where, what, f"of the {part.choice.family} these fit: {fits}")


def of_options(own: Sequence[Chosen], above: Sequence[Chosen]) -> list[Fault]:
    """A fault for every option that is set and wants what another plug-in contradicts (`option_wants`)."""
    faults = []
    for one in own:
        for option, wants in one.entry.facts.get("option_wants", {}).items():
            if one.choice.settings.get(option) in (None, False):
                continue
            for fact, wanted in wants.items():
                giver = next((g for g in (*own, *above) if g.gives.get(fact, wanted[0]) not in wanted), None)
                if giver:
                    given = f"{giver.where}: {giver.choice.name} gives {fact} = {giver.gives[fact]}"
                    what = f"{option} wants {fact} = {' or '.join(wanted)}, but {given}"
                    off = "false" if one.choice.settings[option] is True else "null"
                    faults.append(Fault(f"{one.where}.{option}", what, f"{one.where}.{option}={off}"))
    return faults


def idle(own: Sequence[Chosen]) -> list[Fault]:
    """A fault for every technique beside a method that is told to train nothing (`nothing_when`)."""
    still = [one.choice.name for one in own if not one.trains]
    return [
        Fault(one.where, f"{one.choice.name} works on training, and {still[0]} trains nothing", "leave it out")
        for one in own
        if still and one.choice.family == "techniques"
    ]


def lacking(own: Sequence[Chosen], needs: Mapping[str, str], given: Mapping[str, str]) -> list[Fault]:
    """A fault for every plug-in of a step that wants an input which the step could have and does not name."""
    return [
        Fault(
            one.where,
            f"{one.choice.name} wants the step's input `{name}`",
            f"{one.where.partition('.')[0]}.{name}='$step' of a {needs[name].rstrip('?')} above it",
        )
        for one in own
        for name in one.entry.facts.get("inputs", ())
        if name in needs and name not in given
    ]


def _fault(wanting: Chosen, fact: str, wanted: Sequence[str], giver: Chosen, others: Sequence[Chosen]) -> Fault:
    what = (
        f"{wanting.choice.name} wants {fact} = {' or '.join(wanted)}, "
        f"but {giver.where}: {giver.choice.name} gives {fact} = {giver.gives[fact]}"
    )
    given = {name: value for other in others for name, value in other.gives.items()}
    if fits := ", ".join(entry.name for entry in fitting(wanting.choice.family, given)):
        return Fault(wanting.where, what, f"of the {wanting.choice.family} these fit: {fits}")
    givers = [e.name for e in plugin.entries(giver.choice.family) if e.gives.get(fact) in wanted]
    mend = (
        f"of the {giver.choice.family} these fit: {', '.join(givers)}"
        if givers
        else "choose another for one of the two"
    )
    return Fault(wanting.where, what, mend)


def fitting(family: str, given: Mapping[str, str]) -> list[plugin.Entry]:
    """The plug-ins of a family that want nothing else than what is given, by name."""
    return [
        entry
        for entry in plugin.entries(family)
        if not entry.error and all(given.get(fact, wanted[0]) in wanted for fact, wanted in entry.wants.items())
    ]
