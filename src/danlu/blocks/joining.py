"""Trained models as members of one: each in its plain structure, and all of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from torch import nn

from danlu import bundle
from danlu.blocks import earlier, merging
from danlu.blocks.ensembles import Processors
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Head, Processor, Task
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.predictor import Predictor


@dataclass(frozen=True)
class Member:
    """A trained model, in its plain structure."""

    name: str
    backbone: Backbone
    processor: Processor
    module: nn.Module

    @classmethod
    def of(cls, name: str, folder: Path, task: Task) -> Self:
        """The one of a model's folder. Raises DataError when it does not answer as the data set's task does."""
        found = earlier.torch_form(folder)
        told = bundle.describe(found)
        earlier.check_head(Task.choose({told.task.name: told.task.settings}).head(), task.head(), name)
        if told.parts and not merging.merges(found):
            what = f"{name} keeps parts of its method {told.parts[0].name} beside its weights, so it can't be a member"
            raise RecipeError(what, where="models", do="train it with full, lora or another method that merges")
        module, backbone, _, processor = merging.load(found)
        return cls(name, backbone, processor, module)

    def predictor(self, task: Task) -> Predictor:
        return Predictor(TorchForm(self.module, self.backbone), task, self.processor)


def together(
    members: Sequence[Member], rows: Sequence[Any], head: Head, combine: Literal["mean", "stacking"]
) -> Member:
    """All members side by side; those that read `rows` alike share a processor. What stacks them is still random."""
    processor = Processors.of([(member.backbone, member.processor) for member in members], rows)
    backbone = plugin.load("backbones", "ensemble")(
        members=tuple(member.backbone for member in members), combine=combine
    )
    module = backbone.joined([member.module for member in members], processor, head)
    return Member("", backbone, processor, module.eval())
