"""Train a backbone for the task of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from danlu import bundle
from danlu.blocks import earlier, judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.taught import SelfTaught
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Example, Method, Metric, Processor, Stage, Task, Technique, slot
from danlu.core.errors import DataError, RecipeError
from danlu.predictor import Predictor
from danlu.registry.store import Registry
from danlu.training.job import Job, Judge
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed
from danlu.training.settings import FROM_SCRATCH, OF_DESCENT, OF_PASSES, TrainSettings

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events


class Finetune(TrainSettings, Stage):
    """Start from a backbone's weights, or from random ones, and train on the training rows.

    The weights that did best on the validation rows are kept. The model has the form `trained`, and `merged` beside it
    where the method adds parts of its own: the same answers from the backbone's plain structure. A training that was
    stopped or killed goes on from its last checkpoint at the next run, and ends with the same weights.

    Further inputs are used where the recipe names them: `start: $first` goes on from a trained model, in place of the
    backbone; `teacher: $big` is who `distill` learns from; `before: $old` is the data set the model learnt earlier, for
    `replay` and `ewc`. With `start` and `before` the numbers tell what of it was forgotten, on its validation rows.
    """

    needs: ClassVar[Mapping[str, str]] = {
        "dataset": "dataset", "start": "model??", "teacher": "model??", "before": "dataset??",
    }  # fmt: skip
    makes: ClassVar[str] = "model"

    backbone: Backbone = slot({"pretrained": "asset:minilm"})
    """What is trained."""
    method: Method = slot("full")
    """Which of its weights are trained, and how."""
    techniques: tuple[Technique, ...] = ()
    """What is done at the moments of a step, in this order."""
    watch: Metric | None = None
    """What is looked at on the validation rows, to keep the best weights and to stop early; the loss unless given."""

    teacher_version: str | None = Field(default=None, pattern=r"^[^@\s]+@[0-9]+$")
    """A published version as the teacher, such as `reviews@3`, in place of a step's model."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `trained/`, for some methods `merged/`, and `forms.json`; raises what `fit` raises."""
        data = DataSet.open(inputs["dataset"].path)
        old = DataSet.open(inputs["before"].path) if "before" in inputs else None
        taught = self.taught(inputs, out, data)
        module, fresh, backbone, processor = self.begin(inputs, data, taught)
        train, held = (self.examples(data, split, processor, events) for split in ("train", "validation"))
        if taught:
            earlier.check_same_inputs(taught, data.task, processor, [data.task.ask(row) for row in data.rows("train")])
        if idle := self.without_effect(module):
            out.notes.append(f"{backbone.name} does not descend a gradient, so without effect: {', '.join(idle)}")
            events.note(out.notes[-1])
        lr = self.lr or self.own_rate(module, fresh)
        method = self.method.resolve(fresh)
        forgetting = self.forgetting(inputs, old, backbone, processor)
        known = forgetting.measure(module, torch.device("cpu")) if forgetting else 0.0
        job = Job(
            method.wrap(module),
            data.task,
            processor,
            train,
            held,
            settings=TrainSettings(**{name: getattr(self, name) for name in TrainSettings.model_fields} | {"lr": lr}),
            method=method,
            techniques=self.techniques,
            backbone=backbone,
            judge=self.judge(data, backbone, processor),
            beside={"teacher": earlier.beside(taught)} if taught else {},
            before=self.examples(old, "train", processor, events) if old else (),
            seed=self.seed,
            work=out.work,
            events=events,
        )
        fitted = fit(job)
        out.numbers |= fitted.numbers
        if fitted.resumed_at is not None:
            out.notes.append(f"resumed at step {fitted.resumed_at} of {fitted.numbers['steps_planned']}")
        if forgetting:
            after = forgetting.measure(job.module.cpu(), torch.device("cpu"))
            lost = known - after if forgetting.better == "higher" else after - known
            step = str(inputs["before"].manifest["step"])
            told = {"metric": forgetting.name, "before": known, "after": after, "lost": lost}
            out.numbers["forgetting"] = {step: told}
            events.note(f"{forgetting.name} on the validation rows of {step}: {known:.4f} before, {after:.4f} after")
        asked = Predictor(TorchForm(job.module.cpu(), backbone), job.task, processor)
        self.save(out, job, judging.tuned(asked, job.task, data))

    def taught(self, inputs: Mapping[str, Artifact], out: Draft, data: DataSet) -> Predictor | None:
        """The teacher, where there is one. Raises RecipeError for two, or for one that nobody listens to."""
        wanted = "teacher" in {name for one in self.techniques for name in one.beside} | {*data.task.beside}
        given = [name for name in ("teacher", "teacher_version") if name in inputs or getattr(self, name, None)]
        if len(given) > 1 or (given and not wanted):
            what = "there are two teachers" if len(given) > 1 else "nothing in this step learns from a teacher"
            raise RecipeError(what, where=given[-1], do="leave it out, or add `distill` to the techniques")
        if "teacher" in inputs:
            return earlier.teacher(inputs["teacher"].path, data.task.head())
        if not self.teacher_version:
            return None
        registry = Registry(out.store)
        return earlier.teacher(registry.open(registry.resolve(self.teacher_version)), data.task.head())

    def begin(
        self, inputs: Mapping[str, Artifact], data: DataSet, taught: Predictor | None
    ) -> tuple[nn.Module, list[str], Backbone, Processor]:
        """The module to train, the names of its weights that are random, its backbone and its processor."""
        if "start" in inputs:
            return self.going_on(inputs["start"], data)
        if idle := [one.name for one in self.techniques if "reference" in one.beside]:
            what = f"{idle[0]} holds on to what the model said before, and this one is new"
            raise RecipeError(what, where=f"techniques.{idle[0]}", do="start: $step of a trained model")
        processor = self.processor(data, taught)
        reseed(self.seed, Stream.START)
        return *self.backbone.start(data.task.head(), processor), self.backbone, processor

    def going_on(self, start: Artifact, data: DataSet) -> tuple[nn.Module, list[str], Backbone, Processor]:
        """What `begin` gives, of a trained model. Raises RecipeError where the recipe names another backbone."""
        module, backbone, processor = earlier.go_on(start.path, data.task.head())
        default = type(self).model_fields["backbone"].default
        if self.backbone not in (backbone, Backbone.choose(default)):
            what = f"it goes on from a model with the backbone {backbone.name}, and names {self.backbone.name}"
            raise RecipeError(what, where="backbone", do="leave `backbone` out, or `start`")
        return module, [], backbone, processor

    def processor(self, data: DataSet, taught: Predictor | None) -> Processor:
        """The backbone's own, or the teacher's where it can use it, or one learnt from the training inputs alone."""
        folder = self.backbone.folder()
        if folder:
            return self.backbone.processor(folder)
        if taught and isinstance(taught.processor, self.backbone.processor_class):
            return taught.processor  # type: ignore[no-any-return]
        return self.backbone.learn(data.task.ask(row) for row in data.rows("train"))

    def examples(self, data: DataSet, split: str, processor: Processor, events: Events) -> list[Example]:
        """The examples of all rows of a split, made once. Raises DataError naming the row that can't be read."""
        rows, examples = data.rows(split), list[Example]()
        for place, row in enumerate(rows, 1):
            try:
                examples += data.task.examples(row, processor)
            except DataError as fault:
                raise DataError(fault.what, where=f"{split} row {place}", do=fault.do) from fault
            events.progress(f"encoding {split}", place, len(rows), "rows")
        return examples

    def without_effect(self, module: nn.Module) -> list[str]:
        """The options the recipe sets that mean nothing to a model which is not trained by descent."""
        if not isinstance(module, SelfTaught):
            return []
        idle = (*OF_DESCENT, *OF_PASSES) if module.whole_set else OF_DESCENT
        return [name for name in idle if getattr(self, name) != TrainSettings.model_fields[name].default]

    def own_rate(self, module: nn.Module, fresh: list[str]) -> float:
        """The learning rate where the recipe names none: higher where no weight was trained before."""
        pretrained = any(not name.startswith(tuple(fresh)) for name, _ in module.named_parameters())
        return self.method.lr if pretrained else FROM_SCRATCH

    def judge(self, data: DataSet, backbone: Backbone, processor: Processor) -> Judge | None:
        """`watch` asked of the module as it is at that moment; None where the loss is looked at."""
        if self.watch is None:
            return None
        if self.watch.of != "answers":
            what = f"{self.watch.name} is no metric of answers, so it does not tell which weights are best"
            raise RecipeError(what, where="watch", do="watch=accuracy, or another metric of answers")
        return _judge(self.watch, data, backbone, processor)

    def forgetting(
        self, inputs: Mapping[str, Artifact], old: DataSet | None, backbone: Backbone, processor: Processor
    ) -> Judge | None:
        """How well earlier rows are answered; None where the model did not learn them. Raises DataError."""
        if old is None:
            return None
        earlier.check_head(old.task.head(), DataSet.open(inputs["dataset"].path).task.head(), "before")
        if "start" not in inputs:
            return None
        metric = self.watch or judging.choose_metrics(None, old.task)[0][0]
        return _judge(metric, old, backbone, processor)

    def save(self, out: Draft, job: Job, task: Task) -> None:
        """The bundle `trained`, and `merged` where the method added parts of its own."""
        method: Any = job.method
        parts = (method,) if method.changes_structure() else ()
        common: dict[str, Any] = {"backbone": job.backbone, "task": task, "processor": job.processor}
        module = job.module
        bundle.save(out.path / "trained", module=module, parts=parts, **common)
        forms = {"trained": bundle.FormSpec()}
        if parts:
            bundle.save(out.path / "merged", module=method.merge(module), **common)
            forms["merged"] = bundle.FormSpec(of="trained", exact=True, tolerance=method.tolerance)
        bundle.Forms.write(out.path, forms, default=list(forms)[-1])


def _judge(metric: Metric, data: DataSet, backbone: Backbone, processor: Processor) -> Judge:
    """A metric of a module's answers to the validation rows of a data set."""
    inputs, gold = data.judged("validation")

    def measure(module: nn.Module, device: torch.device) -> float:
        answers = Predictor(TorchForm(module, backbone, str(device)), data.task, processor)(inputs)
        value = metric.value(metric.read(answers, gold), np.ones(len(gold)))
        return float(value["value"] if isinstance(value, dict) else value)

    return Judge(metric.name, metric.better, measure)
