"""A recipe in several processes: rank 0 runs it, the others come along for the steps that train."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from danlu.core.artifact import Artifact, Draft, Store
from danlu.core.errors import DataError
from danlu.core.events import Events
from danlu.core.launch import Place
from danlu.core.plan import Plan, Step
from danlu.training.ranks import joined


@contextmanager
def leading(place: Place) -> Iterator[None]:
    """Rank 0: within the block, steps that train are shared with the other ranks."""
    with joined(place):
        yield


def follow(plan: Plan, store: Store, place: Place) -> dict[str, Artifact]:
    """Another rank: take part in every training that rank 0 calls for; returns what it made, step name → artifact.

    Nothing is written to the store. Raises MachineError when rank 0 does not end well.
    """
    steps = {step.name: step for step in plan.steps}
    with joined(place) as group:
        for number in count():
            task = group.roll.hear(number)
            if task is None:
                break
            _train(steps[task["step"]], task, store)
    return {made.step.name: made.artifact for made in plan.preview(store) if made.artifact}


def _train(step: Step, task: dict[str, Any], store: Store) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Draft(Path(folder), store.work(task["key"]), store.path, task["key"], {"step": step.name})
        inputs = {name: _made(key, store) for name, key in task["inputs"].items()}
        step.make(inputs).run(inputs, out, Events.silent())


def _made(key: str, store: Store) -> Artifact:
    artifact = store.find(key)
    if artifact is None:
        raise DataError(
            f"what rank 0 made is not there: {key[:12]}", where=str(store.path), do="one store for all ranks"
        )
    return artifact
