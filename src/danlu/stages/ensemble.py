"""Make one model of several: by their answers, or by their weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from danlu import bundle
from danlu.blocks import folds, judging
from danlu.blocks.averages import copies, move
from danlu.blocks.dataset import DataSet
from danlu.blocks.ensembles import same_arrays
from danlu.blocks.joining import Member, together
from danlu.blocks.linear_grams import each_alone
from danlu.blocks.sklearn import logistic_regression
from danlu.blocks.taught import SelfTaught
from danlu.bundle import FormSpec
from danlu.contracts import Answer, Metric, Stage, labels_of
from danlu.core.errors import RecipeError
from danlu.core.settings import Model

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events

_C = 1.0
"""The inverse penalty of the regression over probabilities."""


class Ensemble(Stage):
    """Several trained models as one, which is evaluated, verified, exported, published and served like any other.

    `mean` answers with the mean of the members' probabilities, `stacking` with a logistic regression over them, fitted
    on the validation rows (Wolpert, 1992), or, where all members were trained in `folds`, on what every row was told by
    the model that had not learnt it. Both keep all members and take as long as all of them together. `soup` is the mean
    of the members' weights, as small and quick as one of them (Wortsman et al., 2022): it wants members of one
    structure that began with the same weights, as trainings of one pretrained model do. `greedy_soup` begins with the
    member that is best on the validation rows and takes in the next best as long as that makes it no worse.

    The numbers tell what each member and the whole reach on the validation rows.
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset"}
    makes: ClassVar[str] = "model"

    main: ClassVar[str] = "models"

    models: tuple[Model, ...] = Field(min_length=2)
    """The members: `$step` of a model above, a published version (`reviews@3`), or a model's folder."""
    by: Literal["mean", "stacking", "soup", "greedy_soup"] = "mean"
    """How they become one."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `trained/` and `forms.json`.

        Raises DataError for members that answer with other labels, RecipeError for those that can't be joined.
        """
        data = DataSet.open(inputs["dataset"].path)
        self.check_given(inputs, events)
        steps = {artifact.path.resolve(): name for name, artifact in inputs.items()}
        members = [
            Member.of(steps.get(Path(folder).resolve(), f"models.{k}"), Path(folder), data.task)
            for k, folder in enumerate(self.models, 1)
        ]
        rows, gold = data.judged("validation")
        metric = judging.choose_metrics(None, data.task)[0][0]
        answers = []
        for member in members:
            answers.append(judging.ask_all(member.predictor(data.task), rows, events, f"answering with {member.name}"))
        alone = [_measured(metric, said, gold) for said in answers]
        whole, taken = self.joined(members, alone, answers, data, metric)
        task = judging.tuned(whole.predictor(data.task), data.task, data)
        together = _measured(metric, whole.predictor(task)(rows), gold)
        bundle.save(
            out.path / "trained", backbone=whole.backbone, task=task, processor=whole.processor, module=whole.module
        )
        bundle.Forms.write(out.path, {"trained": FormSpec()}, default="trained")
        told = dict(zip([member.name for member in members], alone, strict=True))
        out.numbers |= {"metric": metric.name, "members": told, "together": together, "taken": taken}
        best = max(alone) if metric.better == "higher" else min(alone)
        events.note(f"{metric.name} on the validation rows: {together:.4f} together, {best:.4f} the best member")
        if together < min(alone) if metric.better == "higher" else together > max(alone):
            out.notes.append(f"together they are worse than each member ({self.by})")
            events.warn(out.notes[-1])

    def check_given(self, inputs: Mapping[str, Artifact], events: Events) -> None:
        """Raise RecipeError for a model that is named twice; warn of a step's that learnt from another data set."""
        if len({Path(folder).resolve() for folder in self.models}) < len(self.models):
            do = "name different ones, such as trainings with another seed"
            raise RecipeError("a model is named twice", where="models", do=do)
        for name, artifact in inputs.items():
            learnt = artifact.manifest["inputs"].get("dataset", {})
            if artifact.kind == "model" and learnt.get("digest") != inputs["dataset"].digest:
                events.warn(f"{name} learnt from another data set, which may hold rows that are test rows here")

    def joined(
        self,
        members: Sequence[Member],
        alone: Sequence[float],
        answers: Sequence[Sequence[Answer]],
        data: DataSet,
        metric: Metric,
    ) -> tuple[Member, list[str]]:
        """The whole, and the steps of the members that are in it."""
        if self.by not in ("soup", "greedy_soup"):
            return self.together(members, answers, data), [member.name for member in members]
        rows, gold = data.judged("validation")
        check_alike(members, rows)
        if self.by == "soup":
            return _soup(members), [member.name for member in members]
        sign = 1 if metric.better == "higher" else -1
        order = sorted(range(len(members)), key=lambda k: -sign * alone[k])
        taken, reached = [members[order[0]]], alone[order[0]]
        for k in order[1:]:
            value = _measured(metric, _soup([*taken, members[k]]).predictor(data.task)(rows), gold)
            if sign * value >= sign * reached:
                taken, reached = [*taken, members[k]], value
        return _soup(taken), [member.name for member in taken]

    def together(self, members: Sequence[Member], answers: Sequence[Sequence[Answer]], data: DataSet) -> Member:
        """All members side by side."""
        head = data.task.head()
        whole = together(members, data.judged("validation")[0], head, "stacking" if self.by == "stacking" else "mean")
        if self.by == "stacking":
            said, gold = self.stacked_on(members, answers, data)
            features = said.transpose(1, 0, 2).reshape(len(gold), -1).astype(np.float32)
            found = _regression(features, gold, head.labels, several=head.several)
            stack: Any = whole.module.stack
            with torch.no_grad():
                stack.weight.copy_(torch.from_numpy(found[0].T))
                stack.bias.copy_(torch.from_numpy(found[1]))
        return whole

    def stacked_on(
        self, members: Sequence[Member], answers: Sequence[Sequence[Answer]], data: DataSet
    ) -> tuple[Any, list[Answer]]:
        """Scores [members, n, labels] of rows that no member learnt, and their true answers.

        These are all rows but those of the test where every member was trained in folds, else the validation rows.
        Raises RecipeError where some members were, since they have learnt the validation rows.
        """
        found = [folds.out_of_fold(Path(folder), data) for folder in self.models]
        if all(said is not None for said in found):
            return np.array(found), folds.pooled(data)[1]
        if learnt := [one.name for one, said in zip(members, found, strict=True) if said is not None]:
            what = f"{learnt[0]} was trained in folds and has learnt the validation rows, others have not"
            raise RecipeError(what, where="models", do="give every member folds, or by=mean")
        return np.array([folds.scores(one) for one in answers]), data.judged("validation")[1]


def check_alike(members: Sequence[Member], rows: Sequence[Any]) -> None:
    """Raise RecipeError unless the weights of the members mean the same, place by place, as far as can be seen."""
    first = members[0]
    mend = "ensemble.by=mean joins models of any kind"
    for member in members:
        if isinstance(member.module, SelfTaught):
            raise RecipeError(f"{member.name} counts, so its weights have no mean", where="by", do=mend)
        if member.backbone != first.backbone:
            what = f"{first.name} and {member.name} have different backbones: {_difference(first, member)}"
            raise RecipeError(what, where="by", do=mend)
        if not same_arrays(first.processor, member.processor, rows):
            what = f"{first.name} and {member.name} read a text as different tokens"
            raise RecipeError(what, where="by", do=mend)


def _difference(one: Member, other: Member) -> str:
    if one.backbone.name != other.backbone.name:
        return f"{one.backbone.name} and {other.backbone.name}"
    a, b = one.backbone.model_dump(mode="json"), other.backbone.model_dump(mode="json")
    name = next(name for name in a if a[name] != b[name])
    return f"{name} is {a[name]!r} and {b[name]!r}"


def _soup(members: Sequence[Member]) -> Member:
    """The first member's structure with the mean of all weights."""
    first, average = members[0], copies(members[0].module.state_dict())
    for k, member in enumerate(members[1:], 2):
        move(average, member.module.state_dict(), 1 / k)
    module = copy.deepcopy(first.module)
    module.load_state_dict(average)
    return Member("", first.backbone, first.processor, module)


def _regression(features: Any, gold: Sequence[Answer], labels: Sequence[str], *, several: bool) -> Any:
    """Coefficients [members × labels, labels] and intercepts [labels] of the true answers over probabilities."""
    places = np.tile(np.arange(features.shape[1]), (len(features), 1))
    shape = (features.shape[1], len(labels))
    held = np.array([[label in labels_of(answer) for label in labels] for answer in gold])
    if several:
        return each_alone(partial(logistic_regression, c=_C), places, features, held, shape)
    return logistic_regression(places, features, held.argmax(1), shape, _C)


def _measured(metric: Metric, answers: Sequence[Answer], gold: Sequence[Answer]) -> float:
    value = metric.value(metric.read(answers, gold), np.ones(len(gold)))
    return float(value["value"] if isinstance(value, dict) else value)
