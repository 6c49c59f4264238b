"""The plug-ins that a plug-in is tried with, and a model made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn

from danlu import bundle
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Beginning, Method, Plugin, Task, Technique
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.predictor import Predictor
from danlu.testing.subject import Subject
from danlu.training.job import Job
from danlu.training.loop import fit, leave
from danlu.training.settings import TrainSettings

ROWS = 24
"""Rows of a task's sample that a tiny model is trained on."""
BATCH = 8
STEPS = 80
"""Steps of a training, at a batch of `BATCH`."""
ENOUGH = 0.95
"""The share of right answers from which on a sample counts as learnt."""
_PLAIN = ("input", "label")
"""Head and answer of the plainest tasks."""
_OWN = tuple(f"danlu.testing.{name}" for name in ("bag:Bag", "reader:Reader", "attending:Attending", "writer:Writer"))


def task_for(subject: Subject, *others: Plugin) -> Task:
    """The task to try a plug-in with: itself, the one that was named, or the first of the catalogue that fits."""
    chosen: Task = _partner(subject, "tasks", plainest_first(), others)
    return chosen


def backbone_for(subject: Subject) -> Backbone:
    """The backbone to try a plug-in with: itself, the one that was named, or a small one that fits."""
    chosen: Backbone = _partner(subject, "backbones", small_backbones(), ())
    return chosen


def small_backbones() -> list[Backbone]:
    """Backbones that train in seconds: for labels of texts, their words, texts from texts, pictures, with texts too."""
    own = (plugin.load("backbones", name)() for name in _OWN)
    names: dict[str, dict[str, Any]] = {
        "cnn": {"size": "tiny"},
        "glove": {"size": 16, "passes": 60},
        "two_towers": {"picture": {"cnn": "tiny"}, "text": {"lstm": "tiny"}, "size": 32},
    }
    return [*own, *(plugin.load("backbones", name)(**how) for name, how in names.items())]


def _partner(subject: Subject, family: str, candidates: Iterable[Plugin], others: Sequence[Plugin]) -> Any:
    if subject.family == family:
        return subject.plugin
    if family in subject.partners:
        return subject.partners[family]
    chosen = [subject.plugin, *subject.partners.values(), *others]
    for candidate in candidates:
        if all(go_together(candidate, other) for other in chosen):
            return candidate
    one = plugin.singular(family)
    raise RecipeError(f"no {one} fits {subject.plugin.name}", do=f"checks.run(…, {one}=…)")


def learnt(make: Callable[[], Trial], steps: int = STEPS, **settings: Any) -> tuple[Trial, float]:
    """A trial trained for a quarter of the steps, or anew for all where that is not enough; the share that is right."""
    for count in (steps // 4, steps):
        trial = make().fit(steps=count, **settings)
        if (share := trial.right()) >= ENOUGH:
            break
    return trial, share


def trial_for(subject: Subject, method: Method | None = None, **options: Any) -> Trial:
    """An untrained model of the task and the backbone to try a plug-in with."""
    backbone = backbone_for(subject)
    return Trial.of(task_for(subject, backbone), backbone, method, **options)


def by_default(family: str) -> Iterator[Any]:
    """Every plug-in of a family whose options all have defaults; our own first, so that strangers change no check."""
    for entry in sorted(plugin.entries(family), key=lambda entry: entry.origin != "danlu"):
        if not entry.error and not any(option["required"] for option in entry.fields.values()):
            yield plugin.load(family, entry.name)()


def plainest_first() -> list[Task]:
    """Every task whose options all have defaults, those of one label for an input first."""
    return sorted(by_default("tasks"), key=lambda task: (task.gives.get("head"), task.gives.get("answer")) != _PLAIN)


def go_together(a: Plugin, b: Plugin) -> bool:
    """Whether neither wants what the other contradicts."""
    return all(
        giver.gives.get(fact, values[0]) in values
        for giver, wanting in ((a, b), (b, a))
        for fact, values in wanting.wants.items()
    )


def sample_table(task: Task, n: int) -> pa.Table:
    """The task's sample as a table."""
    return as_table(task.sample(n))


def as_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table; what is null in all of them is text, as in a source's schema."""
    table = pa.Table.from_pylist(list(rows))
    return table.cast(pa.schema([field.with_type(_typed(field.type)) for field in table.schema]))


def _typed(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_typed(field.type)) for field in kind])
    return pa.string() if pa.types.is_null(kind) else kind


@dataclass
class Trial:
    """A small model of a task and a backbone, untrained at first; every weight comes from a seed."""

    task: Task
    backbone: Backbone
    processor: Any
    module: nn.Module
    rows: Sequence[Mapping[str, Any]]
    fresh: list[str]
    method: Method | None = None
    seed: int = 0

    @classmethod
    def of(
        cls, task: Task, backbone: Backbone, method: Method | None = None, *, rows: Any = None, seed: int = 0
    ) -> Trial:
        """The model as a stage would start it, for the task's sample or other rows."""
        rows = task.sample(ROWS) if rows is None else rows
        task = task.resolve(as_table(rows))
        folder = backbone.folder()
        processor = backbone.processor(folder) if folder else backbone.learn(task.material(row) for row in rows)
        torch.manual_seed(seed)
        method = method and method.told(task.head(), processor)
        module, fresh = backbone.start(method.head(task.head()) if method else task.head(), processor)
        if method is not None:
            method = method.resolve(fresh)
            module = method.wrap(module)
            examples = [example for row in rows for example in task.examples(row, processor)]
            method.begin(module, Beginning(task.head(), processor, examples))
        return cls(task, backbone, processor, module, rows, fresh, method, seed)

    def fit(self, techniques: Sequence[Technique] = (), work: Path | None = None, **settings: Any) -> Trial:
        """Train the model in place on its rows, in fp32."""
        options: dict[str, Any] = {
            "steps": STEPS,
            "lr": 5e-3,
            "batch_size": BATCH,
            "precision": "fp32",
            "weight_decay": 0.0,
            "schedule": "constant",
        }
        train = [example for row in self.rows for example in self.task.examples(row, self.processor)]
        taught = any("teacher" in one.beside for one in techniques)
        job = Job(
            self.module,
            self.task,
            self.processor,
            train,
            before=train[::3],
            seed=self.seed,
            beside={"teacher": self._teacher()} if taught else {},
            settings=TrainSettings(**(options | settings)),
            method=self.method,
            backbone=self.backbone,
            techniques=(*(self.method.techniques() if self.method else ()), *techniques),
            work=work,
        )
        fit(job) if self.method is None or self.method.trains else leave(job)
        return self

    def whole(self) -> Trial:
        """With the frozen weights that the method took for the training, as a stage saves it."""
        if self.method is not None:
            self.method.restore(self.module, self._again)
        return self

    def _again(self) -> nn.Module:
        torch.manual_seed(self.seed)
        head = self.method.head(self.task.head()) if self.method else self.task.head()
        return self.backbone.start(head, self.processor)[0]

    def _teacher(self) -> nn.Module:
        """Another untrained model of the same kind, as the one that is wanted beside."""
        torch.manual_seed(1)
        module, _ = self.backbone.start(self.task.head(), self.processor)
        return module.eval().requires_grad_(False)

    @property
    def material(self) -> list[Any]:
        """The raw inputs, as a processor takes them."""
        return [self.task.material(row) for row in self.rows]

    @property
    def inputs(self) -> list[Any]:
        return [self.task.ask(row) for row in self.rows]

    def predictor(self, form: Any = None) -> Predictor:
        """What answers: the model as it is, or another form of it."""
        return Predictor(form or TorchForm(self.module, self.backbone), self.task, self.processor, batch_size=BATCH)

    def calls(self) -> list[Any]:
        """What the model is asked for its rows: named arrays, of batches whose lengths vary."""
        predictor = self.predictor()
        with predictor.listen() as calls:
            predictor(self.inputs)
        return list(calls)

    def right(self) -> float:
        """The share of rows whose answer is nearer to the truth than to anything else."""
        answers = self.predictor()(self.inputs)
        pairs = zip(answers, map(self.task.gold, self.rows), strict=True)
        return sum(self.task.distance(answer, gold) < 0.5 for answer, gold in pairs) / len(self.rows)

    def save(self, folder: Path, parts: Sequence[Plugin] = ()) -> Path:
        """The model as a bundle."""
        common: dict[str, Any] = {"backbone": self.backbone, "task": self.task, "processor": self.processor}
        bundle.save(folder, module=self.module, parts=parts, **common)
        return folder

    def distance(self, a: Sequence[Any], b: Sequence[Any]) -> float:
        """The greatest distance between answers to the same inputs."""
        return max(self.task.distance(one, other) for one, other in zip(a, b, strict=True))
