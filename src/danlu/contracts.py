"""The promises of every family; the values they share are in `values.py` and can be imported from here too.

To write a plug-in, derive from one of these classes, in a file named for it. Nothing here imports torch. Outside the
training loop an array is numpy's; in a `Batch` in it, a torch tensor: `loss` alone of a task is written with tensors.

Four ideas carry the rest:
1. An answer is a talk with the model: `Task.answer` is a generator that yields examples and is sent their outputs.
2. A loss is one summed number per example, with a `count` per example; the loop sums and divides once.
3. What another model says of a batch is part of the batch: `batch.beside[name]`.
4. A form of a model is named arrays in, named arrays out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from danlu.core.errors import RecipeError
from danlu.core.moments import MOMENTS
from danlu.core.settings import Files, Location, Plugin, Settings, slot
from danlu.descent import Optimizer, Schedule
from danlu.explaining import Explainer, Explanation
from danlu.fresh import Initialiser, SpecialTokens, Tokenizer
from danlu.learning import Beginning, Method, head_under
from danlu.rows import Operator, Source

from danlu.values import (  # isort: skip
    Answer, Arrays, Batch, Columns, Context, Counts, Delta, Example, Form, Head, Processor, Row, Turn,
    collate, iterate_rows, labels_of,
)  # fmt: skip

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor, nn

    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Event, Events

__all__ = [
    "Answer", "Arrays", "Backbone", "Batch", "Beginning", "Columns", "Compressor", "Context", "Counts", "Delta",
    "Example", "Explainer", "Explanation", "Files", "Form", "Head", "Initialiser", "Location", "Method", "Metric",
    "Operator", "Optimizer", "Plugin", "Processor", "Runtime", "Schedule", "Settings", "Source", "SpecialTokens",
    "Stage", "Task", "Technique", "Tokenizer", "Tracker", "Turn", "collate", "head_under", "iterate_rows",
    "labels_of", "slot",
]  # fmt: skip


class Backbone(Plugin):
    """Learns or loads its processor and builds a module for a `Head`. It never knows the task.

    `gives` should say `learning: descent` or `learning: counting`; `wants` the modalities and heads that it takes.
    """

    family: ClassVar[str] = "backbones"
    processor_class: ClassVar[type[Any]]
    """The class whose `load(folder)` gives the processor back; it lies in `blocks/` and imports no torch."""
    enough: ClassVar[int | None] = None
    """Characters of text beyond which `learn` is given a part of the inputs, evenly spread; None: it wants all."""

    def learn(self, inputs: Iterable[Any]) -> Processor:
        """A processor learnt from the training inputs: vocabulary, ids, scale. It sees no labels."""
        raise RecipeError(f"{self.name} learns no processor, it needs a folder that has one")

    def processor(self, folder: Path) -> Processor:
        """The processor that lies in a folder."""
        loaded: Processor = self.processor_class.load(folder)
        return loaded

    @abstractmethod
    def build(self, head: Head, processor: Any, folder: Path | None) -> nn.Module:
        """The structure only, always the same for the same arguments; weights are filled in by the caller."""

    def start(self, head: Head, processor: Any) -> tuple[nn.Module, list[str]]:
        """A module to train, and the names of the weights that are still random (a list of prefixes of names)."""
        module = self.build(head, processor, None)
        return module, [name for name, _ in module.named_parameters()]

    def folder(self) -> Path | None:
        """Local files to start from, or None. Touches no network."""
        return None

    def at(self, folder: Path) -> Self:
        """This backbone, reading its own files in `folder`, the bundle of a model; for one that has a `folder`."""
        return self

    def save(self, folder: Path, module: nn.Module, processor: Any) -> None:
        """Write config and processor files, in the backbone's own layout; never weights."""
        processor.save(folder)

    def resume(self, module: nn.Module, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
        """Continue from each example's `state`; None means: recompute. The answers must be the same."""
        return None

    def embeddings(self, module: nn.Module) -> list[nn.Module]:
        """The modules in which ids become vectors."""
        return [m for m in module.modules() if type(m).__name__ == "Embedding"][:1]


class Task(Plugin):
    """Rows to examples, outputs to loss and answers. It never calls a model, batches, or knows optimizer or server.

    A plain task writes `columns ask gold examples head loss encode decode sample`. `gives` should say `modality` (of
    the input), `head` (`Head.per`) and `answer` (the kind its metrics judge, such as `label`).
    """

    family: ClassVar[str] = "tasks"
    beside: ClassVar[tuple[str, ...]] = ()
    """Names of models it wants beside the trained one, such as `reference`."""
    pad: ClassVar[Mapping[str, float]] = {}
    """What fills up shorter targets, as `Processor.pad` does for inputs."""
    among: ClassVar[int | None] = None
    """Steps of a training whose examples are drawn at random together before they are sorted by length; None: those of
    an epoch, which has the least padding."""

    @abstractmethod
    def columns(self) -> Columns:
        """The columns it reads."""

    def settle(self, rows: pa.Table) -> Self:
        """This task with its columns found where left open, and checked. Sees rows not yet cleaned or split."""
        return self

    def resolve(self, rows: pa.Table) -> Self:
        """This task with everything settled that was left open: columns, labels. Sees training rows."""
        return self

    def tune(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> Self:
        """This task with what it can settle after training, such as a threshold. Sees validation rows, answered."""
        return self

    @abstractmethod
    def ask(self, row: Row) -> Any:
        """The input in a row, as `predict` takes it."""

    def material(self, row: Row) -> Any:
        """What a processor learns from of a row: its raw input."""
        return self.ask(row)

    @abstractmethod
    def gold(self, row: Row) -> Answer | None:
        """The true answer in a row, in the form of an answer, or None when it has none."""

    @abstractmethod
    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        """The row for which `ask` gives x and `gold` the answer: the inverse of both."""

    @abstractmethod
    def examples(self, row: Row, processor: Processor) -> list[Example]:
        """Training examples of a row (a long text gives several). Not random; numpy arrays."""

    def pack(
        self,
        rows: Callable[[], Iterable[Row]],
        processor: Any,
        folder: Path,
        key: Sequence[str],
        told: Callable[[int], None],
    ) -> Sequence[Example] | None:
        """The examples of a whole split, for a task that cuts them across rows; None: those of each row.

        They may lie in `folder`, under the name `key`, which says what the rows are; `told` hears how many are read.
        A sequence that has `notes` (texts) says what of the rows is not in them; they are told and kept.
        """
        return None

    def vary(self, example: Example, rng: np.random.Generator) -> Example:
        """The only randomness in data: masking, cropping, noise; drawn from `rng` alone."""
        return example

    def collate(self, examples: Sequence[Example], processor: Processor) -> Batch:
        """Stack examples of the same array names; axis 0 is padded by `Processor.pad` and `Task.pad`."""
        return collate(examples, {**processor.pad, **self.pad})

    @abstractmethod
    def head(self) -> Head:
        """The shape of its answer."""

    def forward(self, model: Any, batch: Batch) -> Arrays:
        """Outputs of the model for a batch."""
        outputs: Arrays = model(**batch.inputs)
        return outputs

    @abstractmethod
    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        """One **sum** per example: a tensor [n]. It never takes a mean."""

    def turns(self, model: Any) -> list[Turn]:
        """The turns of a training step."""
        return [Turn("model", self.forward, self.loss)]

    @abstractmethod
    def encode(self, x: Any, processor: Processor) -> list[Example]:
        """Examples of one input, for an answer."""

    @abstractmethod
    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        """The answer from the outputs of the examples of `encode`, in their order."""

    def answer(self, x: Any, processor: Processor) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
        """The talk: yield examples, be sent their outputs, at last return the answer."""
        examples = self.encode(x, processor)
        outputs = yield examples
        return self.decode(x, examples, outputs, processor)

    @abstractmethod
    def sample(self, n: int) -> list[dict[str, Any]]:
        """n rows that can be learnt but that an untrained model gets wrong; for tests and for tracing a model."""

    def distance(self, a: Answer, b: Answer) -> float:
        """How different two answers are: 0 the same, at most 1, without a unit."""
        return float(a != b)

    def to_json(self, x: Any) -> Any:
        """An input as a JSON value, for a request."""
        return x

    def from_json(self, value: Any) -> Any:
        """The inverse, for what a stranger sent: reads no path; raises DataError when it is not as the schema says."""
        return value

    def request_schema(self) -> dict[str, Any]:
        """JSON Schema of one input in a request."""
        return {}

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of one answer."""
        return {}


class _Moments:
    """The moments that a technique's class writes something for."""

    def __get__(self, _: Technique | None, cls: type[Technique]) -> tuple[str, ...]:
        return tuple(name for name in MOMENTS if getattr(cls, name) is not getattr(Technique, name))


class Technique(Plugin):
    """Something done while training, at named moments of a step, in recipe order.

    It is frozen settings: what must survive a kill is in `run.kept(self)`, a dict of tensors and JSON values.
    """

    family: ClassVar[str] = "techniques"
    beside: ClassVar[tuple[str, ...]] = ()
    """Names of models it wants beside the trained one, such as `teacher`."""
    inputs: ClassVar[tuple[str, ...]] = ()
    """Inputs that its step must name, such as `before`."""
    moments: ClassVar[Any] = _Moments()
    """The moments it does something at, found by its methods; `core.moments` says what they do not go with."""

    @property
    def looks_inside(self) -> bool:
        """Whether it looks at what the layers of models beside give, so that these must be torch modules."""
        return False

    def open(self, run: Any) -> None:
        """Once, before any technique's `start`: listen to layers and lend the model parts, by `run.inside`."""

    def start(self, run: Any) -> None:
        """Once, before what a checkpoint brings is restored."""

    def draw(self, chosen: list[int], run: Any, rng: np.random.Generator) -> list[int]:
        """Which examples this step sees; any number, also none."""
        return chosen

    def vary(self, batch: Batch, run: Any, rng: np.random.Generator) -> Batch:
        """A micro-batch of tensors changed before the model sees it; chance from `rng` alone, see `Batch.mixed`."""
        return batch

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        """The loss [n] changed; an added penalty must be multiplied by `run.batch.count`."""
        return loss

    def backward(self, loss: Tensor, run: Any) -> None:
        """Replaces the loop's own backward pass; at most one technique of a run may define it."""

    def after_backward(self, run: Any) -> None:
        """After each micro-batch; `run.again()` repeats forward, loss and backward on it."""

    def before_step(self, run: Any) -> None:
        """Gradients are whole: noise, masks."""

    def after_step(self, run: Any) -> None:
        """Weights have moved."""

    def answering(self, run: Any, answering: bool) -> None:
        """Before (True) and after (False) the model answers during training: an average shows its weights here."""

    def finish(self, run: Any) -> None:
        """Once, at the end."""


class Compressor(Plugin):
    """A smaller form of a trained model. It never trains."""

    family: ClassVar[str] = "compressors"
    tolerance: ClassVar[float] = 0.05
    """The 99th percentile of `Task.distance` between its answers and the trained model's may reach this."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The compressed structure, unfilled; replayed on load."""
        raise RecipeError(f"{self.name} does not work on torch modules")

    def compress(self, model: nn.Module, batches: Iterable[Arrays]) -> nn.Module:
        """The compressed model; `batches` are inputs to calibrate on."""
        raise RecipeError(f"{self.name} does not work on torch modules")

    def compress_form(self, folder: Path, calls: list[Arrays], out: Path) -> None:
        """Compress an exported form that lies in `folder`, into the folder `out`."""
        raise RecipeError(f"{self.name} does not work on an exported form", do="name the runtime `torch`")


class Runtime(Plugin):
    """Exports a model by listening to what a predictor asks of it, and loads what it exported.

    An axis is dynamic in the export if it varied among the calls.
    """

    family: ClassVar[str] = "runtimes"
    tolerance: ClassVar[float] = 1e-4
    """Greatest `Task.distance` between its answers and the trained model's."""

    @abstractmethod
    def export(self, module: nn.Module, calls: list[Arrays], folder: Path) -> None:
        """Write the form's files; `calls` are the named arrays (batch axis first) that the model was asked with."""

    @abstractmethod
    def load(self, folder: Path, torch_module: Callable[[], tuple[nn.Module, Backbone]]) -> Form:
        """The form in a folder; `torch_module()` replays the model's parts, for a runtime that needs the module."""


class Metric(Plugin):
    """A number about answers, so that torch, ONNX, HTTP and ensembles are judged alike; or about a form itself.

    A metric of answers writes `read`, which turns answers into arrays once, and `value` where it is not the mean of one
    number a row; rows have weights, for the bootstrap. One of the form (size) says `of = "form"`, writes `measure`.
    """

    family: ClassVar[str] = "metrics"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    of: ClassVar[Literal["answers", "form"]] = "answers"

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> Any:
        """What `value` needs of these answers, as arrays with one entry per row."""
        raise NotImplementedError

    def value(self, read: Any, weights: np.ndarray[Any, Any]) -> float | dict[str, Any]:
        """The metric with each row counted `weights[row]` times; a dict for one with parts (per class, a matrix)."""
        return float(read @ weights / weights.sum())

    def measure(
        self, ask: Callable[[Sequence[Any]], list[Answer]], inputs: Sequence[Any], folder: Path | None
    ) -> dict[str, float]:
        """Numbers about a form: `ask` answers inputs, `folder` holds its files (None where it has none)."""
        raise NotImplementedError


class Tracker(Plugin):
    """Listens to `core.events`. It changes nothing."""

    family: ClassVar[str] = "trackers"

    @abstractmethod
    def on(self, event: Event) -> None:
        """One event; called from one thread at a time, in order."""

    def close(self) -> None:
        """The run is over."""


class Stage(Plugin):
    """A verb: a pure function of settings, input artifacts and store. It never calls another stage."""

    family: ClassVar[str] = "stages"
    asks_class: ClassVar[tuple[str, ...]] = ("still",)
    needs: ClassVar[Mapping[str, str]] = {}
    """Input name → kind of artifact; one that ends in `?` may be missing, in `??` it is only what a recipe names."""
    makes: ClassVar[str]
    """The kind of artifact it makes."""
    in_ranks: ClassVar[bool] = False
    """Whether several processes share its work."""
    alone_with: ClassVar[tuple[str, ...]] = ()
    """Options with which, once set, only one process does it."""
    option_wants: ClassVar[Mapping[str, Mapping[str, tuple[str, ...]]]] = {}
    """What an option, once it is given, wants of the plug-ins of its step and of those that step builds on."""

    seed: int = 0
    """Where all randomness of this step comes from; the recipe's own `seed` unless given."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Fill `out`; it becomes an artifact when this returns, and nothing is left of it when it raises."""

    def still(self, artifact: Artifact, store: Path) -> bool:
        """Whether what was made is still in force; a stage that acts outside its folder (publish) answers for it."""
        return True
