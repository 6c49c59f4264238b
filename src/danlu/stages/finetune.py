"""Train a backbone for the task of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from danlu import bundle
from danlu.blocks import judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.taught import SelfTaught
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Example, Method, Metric, Processor, Stage, Task, Technique, slot
from danlu.core.errors import DataError, RecipeError
from danlu.predictor import Predictor
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
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset"}
    makes: ClassVar[str] = "model"

    backbone: Backbone = slot({"pretrained": "asset:minilm"})
    """What is trained."""
    method: Method = slot("full")
    """Which of its weights are trained, and how."""
    techniques: tuple[Technique, ...] = ()
    """What is done at the moments of a step, in this order."""
    watch: Metric | None = None
    """What is looked at on the validation rows, to keep the best weights and to stop early; the loss unless given."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `trained/`, for some methods `merged/`, and `forms.json`; raises what `fit` raises."""
        data = DataSet.open(inputs["dataset"].path)
        processor = self.processor(data)
        train, held = (self.examples(data, split, processor, events) for split in ("train", "validation"))
        reseed(self.seed, Stream.START)
        module, fresh = self.backbone.start(data.task.head(), processor)
        if idle := self.without_effect(module):
            out.notes.append(f"{self.backbone.name} does not descend a gradient, so without effect: {', '.join(idle)}")
            events.note(out.notes[-1])
        lr = self.lr or self.own_rate(module, fresh)
        method = self.method.resolve(fresh)
        job = Job(
            method.wrap(module),
            data.task,
            processor,
            train,
            held,
            settings=TrainSettings(**{name: getattr(self, name) for name in TrainSettings.model_fields} | {"lr": lr}),
            method=method,
            techniques=self.techniques,
            backbone=self.backbone,
            judge=self.judge(data, processor),
            seed=self.seed,
            work=out.work,
            events=events,
        )
        fitted = fit(job)
        out.numbers |= fitted.numbers
        if fitted.resumed_at is not None:
            out.notes.append(f"resumed at step {fitted.resumed_at} of {fitted.numbers['steps_planned']}")
        asked = Predictor(TorchForm(job.module.cpu(), self.backbone), job.task, processor)
        self.save(out, job, judging.tuned(asked, job.task, data))

    def processor(self, data: DataSet) -> Processor:
        """The backbone's own, or one that is learnt from the training inputs alone."""
        folder = self.backbone.folder()
        if folder:
            return self.backbone.processor(folder)
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

    def judge(self, data: DataSet, processor: Processor) -> Judge | None:
        """`watch` asked of the module as it is at that moment; None where the loss is looked at."""
        metric = self.watch
        if metric is None:
            return None
        if metric.of != "answers":
            what = f"{metric.name} is no metric of answers, so it does not tell which weights are best"
            raise RecipeError(what, where="watch", do="watch=accuracy, or another metric of answers")
        inputs, gold = data.judged("validation")

        def measure(module: nn.Module, device: torch.device) -> float:
            answers = Predictor(TorchForm(module, self.backbone, str(device)), data.task, processor)(inputs)
            value = metric.value(metric.read(answers, gold), np.ones(len(gold)))
            return float(value["value"] if isinstance(value, dict) else value)

        return Judge(metric.name, metric.better, measure)

    def save(self, out: Draft, job: Job, task: Task) -> None:
        """The bundle `trained`, and `merged` where the method added parts of its own."""
        method: Any = job.method
        parts = (method,) if method.changes_structure() else ()
        common: dict[str, Any] = {"backbone": self.backbone, "task": task, "processor": job.processor}
        module = job.module
        bundle.save(out.path / "trained", module=module, parts=parts, **common)
        forms = {"trained": bundle.FormSpec()}
        if parts:
            bundle.save(out.path / "merged", module=method.merge(module), **common)
            forms["merged"] = bundle.FormSpec(of="trained", exact=True, tolerance=method.tolerance)
        bundle.Forms.write(out.path, forms, default=list(forms)[-1])
