"""Models and data sets of earlier steps in a training: to go on from, to learn from, not to forget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from danlu import bundle
from danlu.blocks import label_sets, merging, weights
from danlu.blocks.tensors import tensor, to_numpy
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Arrays, Backbone, Head, Processor, Task
from danlu.core.errors import DataError, RecipeError
from danlu.predictor import Predictor

_TRIED = 20


@dataclass(frozen=True)
class Base:
    """The model of an earlier step to start from, in its plain structure."""

    folder: Path
    backbone: Backbone
    head: Head
    changed: bool = False
    """Whether the backbone is to be built otherwise than the model was."""

    @classmethod
    def of(cls, model: Path, place: Path, dropout: float | None = None) -> Self:
        """The one of a model's folder; `dropout` takes the place of its own.

        One whose method added parts is merged into the folder `place`, which must last as long as it is used. Raises
        DataError when it has no weights that can be trained on, RecipeError when it has no dropout, or parts that stay.
        """
        found = torch_form(model)
        told = bundle.describe(found)
        if told.parts and not merging.merges(found):
            what = f"it keeps parts of {told.parts[0].name} beside its weights, so no training can go on from it"
            raise RecipeError(what, where="base", do="train it with full, lora or another method that merges")
        backbone = Backbone.choose({told.backbone.name: told.backbone.settings})
        task = Task.choose({told.task.name: told.task.settings})
        if dropout is not None:
            backbone = _dropping(backbone, dropout)
        return cls(merging.plain(found, place), backbone, task.head(), changed=dropout is not None)

    def start(self, head: Head, processor: Processor) -> tuple[nn.Module, list[str]]:
        """The module, and the names of its weights that are still random.

        Where the answers are the same, nothing is; else everything but the head is taken over, wherever name and shape
        agree. Draws from torch's global generator.
        """
        if head == self.head and not self.changed:
            return bundle.load_module(self.folder)[0], []
        if self.backbone.folder():
            return self.backbone.at(self.folder).start(head, processor)
        module, _ = self.backbone.start(head, processor)
        other = self._of_head(head, processor) if head != self.head else []
        return module, weights.fill_alike(module, self.folder, but=other)

    def _of_head(self, head: Head, processor: Processor) -> list[str]:
        """The weights whose shape follows the number of answers: those of other answers are of no use."""
        if not head.size:
            return []
        shapes = [
            {name: tensor.shape for name, tensor in self.backbone.start(sized, processor)[0].state_dict().items()}
            for sized in (replace(head, labels=()), replace(head, size=head.size + 1, labels=()))
        ]
        return [name for name, shape in shapes[0].items() if shapes[1].get(name) != shape]


def torch_form(model: Path) -> Path:
    """The bundle of a model that has its weights as they were trained. Raises DataError where there is none."""
    forms = bundle.Forms.open(model)
    for name in ("merged", "trained"):
        if name in forms.names:
            return forms.folder(name)
    raise DataError("this model has no weights that can be trained on", where=str(model), do="base: $step")


def _dropping(backbone: Backbone, rate: float) -> Backbone:
    if "dropout" not in type(backbone).model_fields:
        raise RecipeError(f"{backbone.name} has no dropout", where="dropout", do="leave dropout out")
    return backbone.model_copy(update={"dropout": rate})


def teacher(folder: Path, head: Head, *, inside: bool = False) -> Predictor:
    """The default form of a model's folder; `inside` its layers, too, so one that is a torch module.

    Raises DataError when it answers with other labels, RecipeError when layers are wanted and no form has them.
    """
    forms = bundle.Forms.open(folder)
    name = _with_layers(forms) if inside else forms.default
    found = bundle.load(forms.folder(name))
    check_head(found.task.head(), head, "teacher")
    return found


def _with_layers(forms: bundle.Forms) -> str:
    for name in dict.fromkeys((forms.default, "merged", "trained")):
        if name in forms.names and bundle.describe(forms.folder(name)).form.name == "torch":
            return name
    what = f"it gives only logits, its layers can't be asked: it has the forms {', '.join(forms.names)}"
    raise RecipeError(what, where="teacher", do="leave `features` out, or name a teacher with its form `trained`")


def check_head(theirs: Head, ours: Head, where: str) -> None:
    """Raise DataError when two models do not answer in the same shape, with the same labels in the same order."""
    if theirs == ours:
        return
    what = f"its answers are not those of this data set: {_told(theirs)}, here {_told(ours)}"
    do = "name one that answers as this data set does"
    if theirs.labels and ours.labels and replace(theirs, size=0, labels=()) == replace(ours, size=0, labels=()):
        what += f"; {label_sets.difference(theirs.labels, ours.labels, more='only here', less='only there')}"
        do = _settled(theirs.labels, ours.labels)
    raise DataError(what, where=where, do=do)


def _settled(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """How both come to the same labels."""
    union = [*theirs, *(label for label in ours if label not in theirs)]
    written = f"`labels: [{label_sets.listed(union)}]`"
    if len(union) == len(theirs):
        return f"name one of the same labels, or give the task of this data set those of the other: {written}"
    return f"name one of the same labels, or make both with {written} in the task of their data sets"


def tell_new_labels(base: Head, ours: Head) -> str:
    """What going on from a model of other labels comes to, in a sentence; empty where there is nothing to tell."""
    if not base.labels or not ours.labels or base == ours:
        return ""
    what = label_sets.difference(base.labels, ours.labels) or "the same labels in another kind of answer"
    return f"base answers with other labels ({what}), so the head begins anew, from random weights"


def _told(head: Head) -> str:
    kind = {"input": "", "position": " for every position"}.get(head.per, f" for a {head.per}")
    several = ", any number of them at once" if head.several else ""
    if not head.labels:
        return f"{head.size} numbers{kind}" if head.size else f"answers{kind}"
    return f"{len(head.labels)} labels ({label_sets.listed(head.labels, 5)}){kind}{several}"


def check_same_inputs(found: Predictor, task: Task, processor: Processor, inputs: Sequence[Any]) -> None:
    """Raise DataError unless the model makes the same arrays of some inputs, so that it can be given our batches."""
    places = np.linspace(0, len(inputs) - 1, min(_TRIED, len(inputs))).astype(int)
    for x in (inputs[k] for k in places):
        ours, theirs = task.encode(x, processor), found.task.encode(x, found.processor)
        same = len(ours) == len(theirs) and all(
            a.inputs.keys() == b.inputs.keys() and all(np.array_equal(a.inputs[n], b.inputs[n]) for n in a.inputs)
            for a, b in zip(ours, theirs, strict=True)
        )
        if not same:
            what = "it reads inputs with another vocabulary or scale than the model that is trained"
            do = "train a backbone from scratch, which takes over the teacher's, or the backbone that the teacher has"
            raise DataError(what, where="teacher", do=do)


class Beside:
    """A model as one that is asked beside the trained one: tensors in, tensors out, whatever runs it."""

    def __init__(self, found: Predictor) -> None:
        self._form = found.form

    @property
    def module(self) -> nn.Module | None:
        """The torch module, where there is one."""
        return self._form.module if isinstance(self._form, TorchForm) else None

    def __call__(self, **inputs: torch.Tensor) -> Arrays:
        device = next(iter(inputs.values())).device
        said = self._form.forward(to_numpy(inputs))
        return {name: tensor(array, device) for name, array in said.items()}
