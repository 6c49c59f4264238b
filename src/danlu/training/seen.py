"""Which steps of a training saw a row of its data set: what each step sees is a function of seed, epoch and step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from torch import nn

from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Example, Task, Technique
from danlu.core.artifact import Artifact
from danlu.training import guards
from danlu.training.batches import Feed
from danlu.training.job import Job


@dataclass(frozen=True, slots=True)
class Moment:
    """When a row was seen; all count from 1. Of a row with several examples each has its own."""

    epoch: int
    step: int
    batch: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be told of a training and a row."""

    step: str
    """The step of the recipe that trained."""
    key: str
    """The key of what it made."""
    steps: int
    """How many steps it did; the weights that were kept may be those of an earlier one."""
    moments: list[Moment] = field(default_factory=list)
    note: str = ""
    """Why nothing can be told."""


def trainings(data: Artifact, artifacts: Collection[Artifact]) -> list[Artifact]:
    """Those of the artifacts that were trained on a data set."""
    found = []
    for artifact in artifacts:
        given = artifact.manifest["inputs"].get("dataset", {})
        if given.get("digest") == data.digest and "accumulate" in artifact.manifest["settings"]:
            found.append(artifact)
    return found


def seen(model: Artifact, data: DataSet, places: Collection[int]) -> Seen:
    """When a training saw the training rows at `places` (from 0). Every training row is made an example of again."""
    told = Seen(str(model.manifest["step"]), model.key, int(model.numbers.get("steps", 0)))
    if "folds" in model.numbers:
        return _silent(told, "it was trained in folds, and all but one of them saw the row")
    settings, task = model.manifest["settings"], data.task
    if type(task).pack is not Task.pack:
        return _silent(told, "its texts were packed into blocks that know no rows")
    chosen = [Technique.choose(plain) for plain in settings["techniques"]]
    if drawing := [one.name for one in chosen if guards.defines(one, "draw")]:
        return _silent(told, f"the technique {drawing[0]} chose what each step saw")
    module, _, _, processor = bundle.load_module(model.path / "trained")
    if isinstance(module, SelfTaught) and module.whole_set:
        return _silent(told, "it took all rows at once")
    examples, mine = list[Example](), set[int]()
    for place, row in enumerate(data.each("train")):
        made = task.examples(row, processor)
        mine |= set(range(len(examples), len(examples) + len(made))) if place in places else set()
        examples += made
    size = int(model.numbers.get("batch_size", settings["batch_size"]))
    feed = Feed(
        Job(nn.Identity(), task, processor, examples, seed=settings["seed"]),
        size=size,
        accumulate=int(model.numbers.get("accumulate", settings["accumulate"])),
        among=model.numbers.get("sorted_among"),
    )
    for step in range(told.steps):
        found = [k for k, example in enumerate(feed.chosen(step)) if example in mine]
        told.moments.extend(Moment(step // feed.per_epoch + 1, step + 1, k // size + 1) for k in found)
    return told


def _silent(told: Seen, why: str) -> Seen:
    return Seen(told.step, told.key, told.steps, note=why)
