"""Run the checks one after another, each timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from danlu.blocks.checkup import (
    characters,
    columns,
    duplicates,
    giveaways,
    labels,
    languages,
    leaks,
    lengths,
    mislabelled,
    pictures,
    privacy,
    reading,
)
from danlu.blocks.checkup.finding import Finding
from danlu.blocks.checkup.subject import Subject
from danlu.core.events import Events

Check: TypeAlias = Callable[[Subject], list[Finding] | str]

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "reading": reading.check,
        "columns": columns.check,
        "leaks between splits": leaks.check,
        "labels": labels.check,
        "the same input under several labels": labels.conflicts,
        "likely wrong labels": mislabelled.check,
        "columns that give the label away": giveaways.check,
        "duplicates": duplicates.check,
        "near-duplicates": duplicates.near,
        "personal data": privacy.check,
        "odd characters": characters.check,
        "languages": languages.check,
        "lengths": lengths.check,
        "pictures": pictures.check,
    }
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check gave: findings, or why it did not look."""

    name: str
    findings: tuple[Finding, ...]
    skipped: str
    seconds: float


def run(subject: Subject, events: Events) -> list[Checked]:
    """All checks, in the order of `CHECKS`."""
    done = []
    for place, (name, check) in enumerate(CHECKS.items()):
        events.progress("checking", place, len(CHECKS), "checks", check=name)
        began = time.perf_counter()
        found = check(subject)
        skipped = found if isinstance(found, str) else ""
        findings = () if isinstance(found, str) else tuple(found)
        done.append(Checked(name, findings, skipped, time.perf_counter() - began))
    events.progress("checking", len(CHECKS), len(CHECKS), "checks")
    return done
