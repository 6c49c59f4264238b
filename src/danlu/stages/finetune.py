"""Train a backbone for the task of a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from danlu import bundle
from danlu.blocks import earlier, folds, judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.folds import Fold
from danlu.blocks.joining import Member, together
from danlu.contracts import Answer, Backbone, Method, Metric, Task, Technique, slot
from danlu.core.artifact import remove
from danlu.core.canonical import plain, to_json
from danlu.core.errors import RecipeError
from danlu.core.files import make_dirs, write_atomic
from danlu.core.settings import Prepared
from danlu.predictor import Predictor
from danlu.registry.store import Registry
from danlu.training.forgetting import Remembered
from danlu.training.ranks import present
from danlu.training.teaching import Teaching

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events

_DONE = "numbers.json"


class Finetune(Teaching):
    """Start from a backbone's weights, or from random ones, and train on the training rows.

    The weights that did best on the validation rows are kept. The model has the form `trained`: where the method adds
    parts of its own, these are one file and the frozen backbone another, the same for all that stand on it. With
    `merge` it has the form `merged` too: the same answers from the backbone's plain structure. A training that was
    stopped or killed goes on from its last checkpoint at the next run, and ends with the same weights.

    Further inputs are used where the recipe names them: `base: $first` starts from the model of another step, with its
    tokenizer, in the place of a backbone; `teacher: $big` is who `distill` learns from; `before: $old` is the data set
    the model learnt earlier, for `replay` and `ewc`. With `base` and `before` the numbers tell what of it was
    forgotten, on its validation rows; `remember: [$old, $older]` names more such data sets, and `remember_on: test`
    looks at the frozen test rows of all of them, before the first step and after the last.

    With `folds` no row but the test's is kept from the model: it takes `folds` times as long to train, to answer and on
    the disk. What each row was told by the one model that had not learnt it is kept for `stacking` in a step
    `ensemble`, and its score stands in the numbers as `out_of_fold`.
    """

    needs: ClassVar[Mapping[str, str]] = {
        "dataset": "dataset", "base": "model??", "teacher": "model??", "before": "dataset??",
    }  # fmt: skip
    in_place_of: ClassVar[Mapping[str, str]] = {"base": "backbone"}
    alone_with: ClassVar[tuple[str, ...]] = ("folds",)
    option_wants: ClassVar[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
        "folds": {"modality": ("text",), "answer": ("label", "labels"), "parts": ("merged",)},
        "merge": {"parts": ("merged",)},
    }

    backbone: Backbone | None = slot({"pretrained": "asset:minilm"})
    """What is trained."""
    method: Method = slot("full")
    """Which of its weights are trained, and how."""
    techniques: tuple[Technique, ...] = ()
    """What is done at the moments of a step, in this order."""
    watch: Metric | None = None
    """What is looked at on the validation rows, to keep the best weights and to stop early; the loss unless given."""
    folds: int | None = Field(default=None, ge=2, le=20)
    """Train so many models, each on all rows but those of the test and of one part, which validates it; what answers is
    the mean of their probabilities. For tasks that label texts."""

    remember: tuple[Prepared, ...] = ()
    """Earlier data sets, `[$old, $older]`: the numbers tell how well each is answered before and after, so what was
    forgotten. It wants `base`; nothing is learnt from them."""
    remember_on: Literal["validation", "test"] = "validation"
    """Which of their rows are asked, and of those of `before`; nothing is chosen by them."""
    teacher_version: str | None = Field(default=None, pattern=r"^[^@\s]+@[0-9]+$")
    """A published version as the teacher, such as `reviews@3`, in place of a step's model."""

    def taught(self, inputs: Mapping[str, Artifact], out: Draft, data: DataSet) -> Predictor | None:
        """The teacher, where there is one. Raises RecipeError for two, or for one that nobody listens to."""
        wanted = "teacher" in {name for one in self.techniques for name in one.beside} | {*data.task.beside}
        given = [name for name in ("teacher", "teacher_version") if name in inputs or getattr(self, name, None)]
        if len(given) > 1 or (given and not wanted):
            what = "there are two teachers" if len(given) > 1 else "nothing in this step learns from a teacher"
            raise RecipeError(what, where=given[-1], do="leave it out, or add `distill` to the techniques")
        inside = any(one.looks_inside for one in self.techniques)
        if "teacher" in inputs:
            return earlier.teacher(inputs["teacher"].path, data.task.head(), inside=inside)
        if not self.teacher_version:
            return None
        registry = Registry(out.store)
        found = registry.open(registry.resolve(self.teacher_version))
        return earlier.teacher(found, data.task.head(), inside=inside)

    def remembered(self, inputs: Mapping[str, Artifact]) -> Remembered | None:
        """`before` and the data sets of `remember`, each once."""
        names = {artifact.path.resolve(): name.removeprefix("$") for name, artifact in inputs.items()}
        folders = {names.get(path, path.name): path for path in (Path(one).resolve() for one in self.remember)}
        if "before" in inputs and (path := inputs["before"].path.resolve()) not in folders.values():
            folders = {str(inputs["before"].manifest["step"]): path, **folders}
        asked = "remember" if self.remember else "before"
        return Remembered.open(folders, self.remember_on, asked) if folders else None

    # ---- in folds --------------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """As every training; in folds also `out_of_fold.safetensors`, and `trained/` holds all members.

        Raises RecipeError for folds of a task, a method or several processes with which they do not go.
        """
        if self.folds is None:
            super().run(inputs, out, events)
            return
        self.check()
        data = DataSet.open(inputs["dataset"].path)
        check_foldable(data.task, self.method)
        each = [self.fold(part, inputs, out, events) for part in folds.parts(data, self.folds, self.seed)]
        rows, gold = folds.pooled(data)
        answers: list[Any] = [None] * len(rows)
        for one in each:
            for place, answer in zip(one.held, one.answers, strict=True):
                answers[place] = answer
        whole = together([one.member for one in each], rows, data.task.head(), "mean")
        task = data.task if type(data.task).tune is Task.tune else data.task.tune(answers, gold)
        bundle.save(
            out.path / "trained", backbone=whole.backbone, task=task, processor=whole.processor, module=whole.module
        )
        bundle.Forms.write(out.path, {"trained": bundle.FormSpec()}, default="trained")
        folds.write_out_of_fold(out.path, data, folds.scores(answers))
        metric = self.watch or judging.choose_metrics(None, data.task)[0][0]
        score = judging.score_all([metric], answers, gold, seed=self.seed)[metric.name]
        out.numbers |= in_all([one.numbers for one in each]) | {"metric": metric.name, "out_of_fold": score.plain()}
        events.note(
            f"{metric.name} of {len(rows):,} rows, each told by the model that had not learnt it: {score.value:.4f}"
        )

    def fold(self, part: Fold, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> _Learnt:
        """The model of one fold, trained unless a run that was stopped had done so, and its answers to its own part."""
        folder = out.work / f"model{part.number}"
        inner = replace(out, path=folder, work=out.work / f"fold{part.number}", numbers={}, notes=[])
        if not (folder / _DONE).is_file():
            events.note(f"fold {part.number} of {self.folds}")
            remove(folder)
            make_dirs(folder)
            make_dirs(inner.work)
            self.learn(part, inputs, inner, events)
            write_atomic(folder / _DONE, to_json(plain(inner.numbers)))
        member = Member.of(f"fold {part.number}", folder, part.task)
        asked = part.judged("validation")[0]
        answers = judging.ask_all(member.predictor(part.task), asked, events, f"answering with {member.name}")
        return _Learnt(member, part.held, answers, json.loads((folder / _DONE).read_bytes()))


@dataclass(frozen=True)
class _Learnt:
    """The model of a fold, and what it said of the rows that it had not learnt."""

    member: Member
    held: folds.Places
    answers: Sequence[Answer]
    numbers: Mapping[str, Any]


def check_foldable(task: Task, method: Method) -> None:
    """Raise RecipeError unless models of this task and method can answer as one, in this process."""
    if task.gives.get("modality") != "text" or task.gives.get("answer") not in ("label", "labels"):
        raise RecipeError(
            f"folds join models that label texts, and this is {task.name}", where="folds", do="folds=null"
        )
    if method.changes_structure() and type(method).merge is Method.merge:
        what = f"the parts of {method.name} stay beside the weights, so its models can't be joined"
        raise RecipeError(what, where="folds", do="method=full, lora or another that merges; or folds=null")
    if present().world > 1:
        raise RecipeError("folds are trained in one process", where="folds", do="leave --nproc out, or folds=null")


def in_all(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of several trainings as those of one: sums, and each one's own under `folds`."""
    sums = {name: sum(one[name] for one in each) for name in ("seconds", "parameters", "trained_parameters")}
    share = round(sums["trained_parameters"] / sums["parameters"], 6)
    first = each[0].get("memory_estimate_mb", {})
    return {**sums, "trained_share": share, "memory_estimate_mb": first, "folds": list(each)}
