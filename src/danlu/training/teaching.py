"""What the stages that train share: from a data set and a backbone to the bundle of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from danlu import bundle
from danlu.blocks import judging, weights
from danlu.blocks.dataset import DataSet
from danlu.blocks.taught import SelfTaught
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Example, Head, Method, Metric, Processor, Stage, Task, Technique
from danlu.core.errors import DataError, RecipeError
from danlu.predictor import Predictor
from danlu.training.job import Job, Judge, chosen_device
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed
from danlu.training.settings import FROM_SCRATCH, OF_DESCENT, OF_PASSES, TrainSettings

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events


@dataclass(frozen=True)
class Base:
    """The model of an earlier step, to start from: its backbone, its processor's files, its weights."""

    folder: Path
    backbone: Backbone

    @classmethod
    def of(cls, model: Path) -> Self:
        """The whole torch form of a model. Raises DataError when it has none."""
        forms = bundle.Forms.open(model)
        for name in ("merged", "trained"):
            if name in forms.names:
                part = bundle.describe(forms.folder(name)).backbone
                return cls(forms.folder(name), Backbone.choose({part.name: part.settings}))
        raise DataError("this model has no weights that can be trained on", where=str(model), do="base: $step")

    def start(self, head: Head, processor: Processor) -> tuple[nn.Module, list[str]]:
        """The module with the base's weights wherever name and shape are the same; the others are still random."""
        if self.backbone.folder():
            return self.backbone.at(self.folder).start(head, processor)
        module, _ = self.backbone.start(head, processor)
        return module, weights.fill_alike(module, self.folder)


class Teaching(TrainSettings, Stage):
    """Train a backbone for the task of a data set."""

    makes: ClassVar[str] = "model"

    backbone: Backbone | None
    method: Method
    techniques: tuple[Technique, ...]
    watch: Metric | None

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `trained/`, for some methods `merged/`, and `forms.json`; raises what `fit` raises."""
        data = DataSet.open(inputs["dataset"].path)
        base = Base.of(inputs["base"].path) if "base" in inputs else None
        backbone = base.backbone if base else self.backbone
        if backbone is None:
            raise RecipeError("there is nothing to train", where="backbone", do="backbone=pretrained, or base='$step'")
        processor = self.processor(data, backbone, base)
        train, held = (self.examples(data, split, processor, out, events) for split in ("train", "validation"))
        reseed(self.seed, Stream.START)
        module, fresh = base.start(data.task.head(), processor) if base else backbone.start(data.task.head(), processor)
        if idle := self.without_effect(module):
            out.notes.append(f"{backbone.name} does not descend a gradient, so without effect: {', '.join(idle)}")
            events.note(out.notes[-1])
        lr = self.lr or self.own_rate(module, fresh) * self.optimizer.lr_scale
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
            backbone=backbone,
            judge=self.judge(data, backbone, processor),
            seed=self.seed,
            work=out.work,
            events=events,
            looked=lambda module, step: self.looked(
                Predictor(TorchForm(module, backbone, str(chosen_device(self.device))), data.task, processor),
                step,
                out,
                events,
            ),
        )
        fitted = fit(job)
        out.numbers |= fitted.numbers
        if fitted.resumed_at is not None:
            out.notes.append(f"resumed at step {fitted.resumed_at} of {fitted.numbers['steps_planned']}")
        asked = Predictor(TorchForm(job.module.cpu(), backbone), job.task, processor)
        self.save(out, job, judging.tuned(asked, job.task, data))
        self.finish(out)

    def looked(self, predictor: Predictor, step: int, out: Draft, events: Events) -> None:
        """The validation rows were looked at after so many steps; `predictor` asks the model as it is now."""

    def finish(self, out: Draft) -> None:
        """The model is written."""

    def processor(self, data: DataSet, backbone: Backbone, base: Base | None) -> Processor:
        """The base's or the backbone's own, or one that is learnt from the training inputs alone."""
        folder = base.folder if base else backbone.folder()
        if folder:
            return backbone.processor(folder)
        return backbone.learn(data.task.material(row) for row in data.each("train"))

    def examples(
        self, data: DataSet, split: str, processor: Processor, out: Draft, events: Events
    ) -> Sequence[Example]:
        """The examples of all rows of a split. Raises DataError naming the row that can't be read."""
        count = data.info["rows"][split]
        if count:
            packed = data.task.pack(
                lambda: data.each(split),
                processor,
                out.store / "tokens",
                (data.info["digests"][split], split),
                lambda done: events.progress(f"encoding {split}", done, count, "rows"),
            )
            if packed is not None:
                return packed
        examples: list[Example] = []
        for place, row in enumerate(data.each(split), 1):
            try:
                examples += data.task.examples(row, processor)
            except DataError as fault:
                raise DataError(fault.what, where=f"{split} row {place}", do=fault.do) from fault
            events.progress(f"encoding {split}", place, count, "rows")
        return examples

    def without_effect(self, module: nn.Module) -> list[str]:
        """The options the recipe sets that mean nothing to a model which is not trained by descent."""
        if not isinstance(module, SelfTaught):
            return []
        idle = (*OF_DESCENT, *OF_PASSES) if module.whole_set else OF_DESCENT
        default = TrainSettings()
        return [name for name in idle if getattr(self, name) != getattr(default, name)]

    def own_rate(self, module: nn.Module, fresh: list[str]) -> float:
        """AdamW's learning rate where the recipe names none: higher where no weight was trained before."""
        pretrained = any(not name.startswith(tuple(fresh)) for name, _ in module.named_parameters())
        return self.method.lr if pretrained else FROM_SCRATCH

    def judge(self, data: DataSet, backbone: Backbone, processor: Processor) -> Judge | None:
        """`watch` asked of the module as it is at that moment; None where the loss is looked at."""
        metric = self.watch
        if metric is None:
            return None
        if metric.of != "answers":
            what = f"{metric.name} is no metric of answers, so it does not tell which weights are best"
            raise RecipeError(what, where="watch", do="watch=accuracy, or another metric of answers")
        inputs, gold = data.judged("validation")

        def measure(module: nn.Module, device: torch.device) -> float:
            answers = Predictor(TorchForm(module, backbone, str(device)), data.task, processor)(inputs)
            value = metric.value(metric.read(answers, gold), np.ones(len(gold)))
            return float(value["value"] if isinstance(value, dict) else value)

        return Judge(metric.name, metric.better, measure)

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
