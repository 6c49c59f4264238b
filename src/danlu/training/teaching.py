"""What the stages that train share: from a data set and a backbone to the bundle of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import nn

from danlu import bundle
from danlu.blocks import cutting, earlier, judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.earlier import Base
from danlu.blocks.material import material
from danlu.blocks.report.training import picture
from danlu.blocks.taught import SelfTaught
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Beginning, Example, Head, Method, Metric, Processor, Stage, Task, Technique
from danlu.core.artifact import Artifact
from danlu.core.errors import DataError, RecipeError
from danlu.predictor import Predictor
from danlu.training.forgetting import Forgetting, Remembered, judge
from danlu.training.job import Job, Judge, chosen_device
from danlu.training.loop import fit, leave
from danlu.training.randomness import Stream, reseed
from danlu.training.ranks import present
from danlu.training.settings import FROM_SCRATCH, OF_DESCENT, OF_PASSES, TrainSettings
from danlu.values import CUT

if TYPE_CHECKING:
    from danlu.core.artifact import Draft
    from danlu.core.events import Events


class Teaching(TrainSettings, Stage):
    """Train a backbone for the task of a data set."""

    makes: ClassVar[str] = "model"
    in_ranks: ClassVar[bool] = True

    backbone: Backbone | None
    method: Method
    techniques: tuple[Technique, ...]
    watch: Metric | None
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Another dropout than the model had that is trained on, with `base`; small data wants some, pre-training on much
    none. A backbone has an option of its own."""
    merge: bool = False
    """Keep also the form `merged` of a method whose parts can go into the weights (`lora`, `dora`, `ia3`), and serve
    it: the backbone's plain structure, as large as that, which shares nothing. Without it the adapter is stored beside
    its backbone, and merged wherever something needs that."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `trained/`, with `merge` also `merged/`, and `forms.json`; raises what `fit` raises."""
        self.check()
        named = {name: artifact.key for name, artifact in inputs.items()}
        present().call({"step": out.about["step"], "key": out.key, "inputs": named})
        self.learn(DataSet.open(inputs["dataset"].path), inputs, out, events)

    def learn(self, data: DataSet, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Train on a data set, and write the model."""
        ranks = present()
        old = DataSet.open(inputs["before"].path) if "before" in inputs else None
        self.check_merge()
        base = Base.of(inputs["base"].path, out.work / f"base-{ranks.rank}", self.dropout) if "base" in inputs else None
        taught = self.taught(inputs, out, data)
        backbone, processor = self.begin(data, base, taught, events)
        if base:
            self.go_on(base.head, data.task.head(), out, events)
        train, held = (self.examples(data, split, processor, out, events) for split in ("train", "validation"))
        if taught:
            earlier.check_same_inputs(taught, data.task, processor, [data.task.ask(row) for row in data.rows("train")])
        method = self.method.told(data.task.head(), processor)
        start = partial(self.start, base or backbone, method.head(data.task.head()), processor)
        module, fresh = start()
        self.tell_idle(module, backbone, out, events)
        lr = self.lr or self.own_rate(module, fresh) * self.optimizer.lr_scale
        method = method.resolve(fresh)
        forgetting = self.forgetting(data, inputs, base, backbone, processor, events)
        known = forgetting.measure(module) if forgetting else {}
        module = method.wrap(module)
        method.begin(module, Beginning(data.task.head(), processor, train, held))

        def asked(module: nn.Module, device: object = "cpu") -> Predictor:
            return Predictor(TorchForm(module, backbone, str(device)), data.task, processor)

        job = Job(
            module,
            data.task,
            processor,
            train,
            held,
            settings=self.settled(lr, method),
            method=method,
            fresh=fresh,
            techniques=(*method.techniques(), *self.techniques),
            backbone=backbone,
            judge=self.judge(data, backbone, processor),
            beside={"teacher": earlier.Beside(taught)} if taught else {},
            before=self.examples(old, "train", processor, out, events) if old else (),
            seed=self.seed,
            work=out.work,
            events=events,
            ranks=ranks,
            looked=lambda module, step: self.looked(asked(module, chosen_device(self.device)), step, out, events),
        )
        fitted = fit(job) if method.trains else leave(job)
        if ranks.rank:
            return
        method.restore(job.module, lambda: start()[0])
        out.numbers |= fitted.numbers
        if fitted.resumed_at is not None:
            out.notes.append(f"resumed at step {fitted.resumed_at} of {fitted.numbers['steps_planned']}")
        if forgetting:
            forgetting.tell(known, job.module.cpu(), out, events)
        if method.trains:
            (out.path / "curves.svg").write_text(picture(fitted.numbers, alone=True), encoding="utf-8")
        self.save(out, job, judging.tuned(asked(job.module.cpu()), job.task, data))
        self.finish(out)

    # ---- what a stage may add --------------------------------------------------------------------------------------

    def taught(self, inputs: Mapping[str, Artifact], out: Draft, data: DataSet) -> Predictor | None:
        """The teacher, where there is one."""
        return None

    def looked(self, predictor: Predictor, step: int, out: Draft, events: Events) -> None:
        """The validation rows were looked at after so many steps; `predictor` asks the model as it is now."""

    def finish(self, out: Draft) -> None:
        """The model is written."""

    def remembered(self, inputs: Mapping[str, Artifact]) -> Remembered | None:
        """The earlier data sets of which is told what was forgotten."""
        if "before" not in inputs:
            return None
        before = inputs["before"]
        return Remembered.open({str(before.manifest["step"]): before.path}, "validation", "before")

    # ---- the parts -------------------------------------------------------------------------------------------------

    def begin(
        self, data: DataSet, base: Base | None, taught: Predictor | None, events: Events
    ) -> tuple[Backbone, Processor]:
        """What is trained, and its processor: the base's, the backbone's own, the teacher's where the backbone can use
        it, or one that is learnt from the training inputs alone. Raises RecipeError."""
        if base:
            return base.backbone, base.backbone.processor(base.folder)
        if idle := [one.name for one in self.techniques if "reference" in one.beside]:
            what = f"{idle[0]} holds on to what the model said before, and this one is new"
            raise RecipeError(what, where=f"techniques.{idle[0]}", do="base: $step of a trained model")
        backbone = self.backbone
        if self.dropout is not None:
            what = "dropout goes with base; here it is an option of the backbone"
            raise RecipeError(what, where="dropout", do="leave dropout out, and set that of the backbone")
        if backbone is None:
            raise RecipeError("there is nothing to train", where="backbone", do="backbone=pretrained, or base='$step'")
        if folder := backbone.folder():
            return backbone, backbone.processor(folder)
        if taught and isinstance(taught.processor, backbone.processor_class):
            return backbone, taught.processor
        return backbone, backbone.learn(material(data, backbone, events))

    def go_on(self, base: Head, head: Head, out: Draft, events: Events) -> None:
        """A note where the model that is gone on from has other labels.

        Raises DataError where a technique holds on to its answers.
        """
        for one in self.techniques:
            if "base" in one.inputs:
                earlier.check_head(base, head, "base")
        if told := earlier.tell_new_labels(base, head):
            out.notes.append(told)
            events.note(told)

    def start(self, source: Base | Backbone, head: Head, processor: Processor) -> tuple[nn.Module, list[str]]:
        """The module before its first step, the same each time, and the names of its weights that are random."""
        reseed(self.seed, Stream.START)
        return source.start(head, processor)

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
                (Artifact.read(data.folder).digest, split),  # a split's own digest says nothing of the order
                lambda done: events.progress(f"encoding {split}", done, count, "rows"),
            )
            if packed is not None:
                for note in getattr(packed, "notes", ()):
                    out.notes.append(note)
                    events.warn(note)
                return packed
        examples: list[Example] = []
        size = 0 if present().world > 1 else data.size(split)
        with cutting.ahead(data.task, processor, lambda: data.each(split), size) as cutter:
            for place, row in enumerate(data.each(split), 1):
                try:
                    examples += data.task.examples(row, cutter)
                except DataError as fault:
                    raise DataError(fault.what, where=f"{split} row {place}", do=fault.do) from fault
                events.progress(f"encoding {split}", place, count, "rows")
        if cut := sum(example.note is CUT for example in examples):
            out.notes.append(f"{cut:,} of {len(examples):,} {split} examples were cut to fit the model")
            events.warn(out.notes[-1])
        return examples

    def without_effect(self, module: nn.Module) -> list[str]:
        """The options the recipe sets that mean nothing to a model which is not trained, or not by descent."""
        if not isinstance(module, SelfTaught) and self.method.trains:
            return []
        idle = OF_DESCENT if isinstance(module, SelfTaught) and not module.whole_set else (*OF_DESCENT, *OF_PASSES)
        default = TrainSettings()
        return [name for name in idle if getattr(self, name) != getattr(default, name)]

    def tell_idle(self, module: nn.Module, backbone: Backbone, out: Draft, events: Events) -> None:
        """A note where options of the recipe are without effect."""
        if idle := self.without_effect(module):
            why = f"{backbone.name} does not descend a gradient" if self.method.trains else "the method trains nothing"
            out.notes.append(f"{why}, so without effect: {', '.join(idle)}")
            events.note(out.notes[-1])

    def own_rate(self, module: nn.Module, fresh: list[str]) -> float:
        """AdamW's learning rate where the recipe names none: higher where no weight was trained before."""
        pretrained = any(not name.startswith(tuple(fresh)) for name, _ in module.named_parameters())
        return self.method.lr if pretrained else FROM_SCRATCH

    def settled(self, lr: float | str, method: Method) -> TrainSettings:
        """The options of the training, with the method's own number of steps where the recipe names no length."""
        given = {name: getattr(self, name) for name in TrainSettings.model_fields} | {"lr": lr}
        if self.epochs is None and self.steps is None:
            given["steps"] = method.steps
        return TrainSettings(**given)

    def judge(self, data: DataSet, backbone: Backbone, processor: Processor) -> Judge | None:
        """`watch` asked of the module as it is at that moment; None where the loss is looked at."""
        if self.watch is None:
            return None
        if self.watch.of != "answers":
            what = f"{self.watch.name} is no metric of answers, so it does not tell which weights are best"
            raise RecipeError(what, where="watch", do="watch=accuracy, or another metric of answers")
        return judge(self.watch, data, "validation", backbone, processor)

    def forgetting(
        self,
        data: DataSet,
        inputs: Mapping[str, Artifact],
        base: Base | None,
        backbone: Backbone,
        processor: Processor,
        events: Events,
    ) -> Forgetting | None:
        """How well earlier rows are answered; None where there are none, or the model did not learn them.

        Raises DataError for earlier data of other labels, RecipeError where what can't have been learnt is asked about.
        """
        remembered = self.remembered(inputs)
        if remembered is None:
            return None
        remembered.check(data, events)
        if base is not None and base.head == data.task.head():
            return remembered.judges(self.watch, backbone, processor)
        if remembered.asked == "remember":
            what = "what is forgotten is told of a model that is gone on from, with the labels that it has"
            raise RecipeError(what, where="remember", do="base: $step of a model of these labels, or remember=[]")
        return None

    def check_merge(self) -> None:
        """Raise RecipeError where parts are to go into the weights and the method has none that can."""
        if self.merge and type(self.method).merge is Method.merge:
            what = f"{self.method.name} has no parts that could go into the weights"
            raise RecipeError(what, where="merge", do="merge=false, or method=lora, dora or ia3")

    def save(self, out: Draft, job: Job, task: Task) -> None:
        """The bundle `trained`; with `merge` the form `merged` beside it, which becomes the default."""
        method: Any = job.method
        parts = (method,) if method.changes_structure() else ()
        common: dict[str, Any] = {"backbone": job.backbone, "task": task, "processor": job.processor}
        module = job.module
        bundle.save(out.path / "trained", module=module, parts=parts, **common)
        forms = {"trained": bundle.FormSpec()}
        if self.merge:
            bundle.save(out.path / "merged", module=method.merge(module), **common)
            forms["merged"] = bundle.FormSpec(of="trained", exact=True, tolerance=method.tolerance)
        bundle.Forms.write(out.path, forms, default=list(forms)[-1])
