"""Tiny jobs for tests of techniques, and a task and a backbone of sounds, of which there is none among ours yet."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from danlu.blocks import labels as of_labels
from danlu.contracts import Backbone, Columns, Example, Head, Task, Technique
from danlu.core.events import Events
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.settings import TrainSettings

TASK = TextClassification(text="text", label="label", labels=("one", "two", "three"))


class Padded:
    """A processor whose arrays are given as they are."""

    pad: ClassVar[dict[str, float]] = {"ids": 0, "input_ids": 0, "attention_mask": 0}

    def inputs(self, x: Any, limit: int | None = None) -> dict[str, Any]:
        return dict(x)

    def save(self, folder) -> None:
        folder.mkdir(exist_ok=True)

    @classmethod
    def load(cls, folder) -> Padded:
        return cls()


class Vectors(nn.Module):
    """Vectors of ids, their masked mean, two layers."""

    def __init__(self, dropout: float = 0.0, labels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(12, 8)
        self.middle, self.drop, self.head = nn.Linear(8, 8), nn.Dropout(dropout), nn.Linear(8, labels)

    def forward(self, ids, attention_mask):
        mask = attention_mask[..., None]
        mean = (self.table(ids) * mask).sum(1) / mask.sum(1)
        return {"logits": self.head(self.drop(torch.tanh(self.middle(mean))))}


class OfVectors(Backbone):
    """Tells where the embeddings of `Vectors` are."""

    processor_class: ClassVar[type[Any]] = Padded

    def build(self, head, processor, folder):
        return Vectors(labels=head.size)


class Flat(nn.Module):
    """Numbers to logits, by one layer without chance."""

    def __init__(self, size: int, labels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(size, labels)

    def forward(self, x):
        return {"logits": self.line(x.flatten(1))}


def texts(n: int = 12, seed: int = 0) -> list[Example]:
    """Ids of different lengths; the first gives the label away."""
    rng, made = np.random.default_rng(seed), []
    for k in range(n):
        ids = np.array([1 + k % 3, *rng.integers(4, 12, k % 4)], np.int64)
        made.append(Example({"ids": ids, "attention_mask": np.ones(len(ids), np.int64)}, {"label": np.int64(k % 3)}))
    return made


def numbers(shape: tuple[int, ...], n: int = 12, seed: int = 0) -> list[Example]:
    """Random arrays, with labels by turns."""
    rng = np.random.default_rng(seed)
    return [Example({"x": rng.normal(size=shape).astype(np.float32)}, {"label": np.int64(k % 3)}) for k in range(n)]


class See(Technique):
    """Calls a function of the run after each micro-batch's backward pass; changes nothing."""

    def __init__(self, see) -> None:
        super().__init__()
        object.__setattr__(self, "see", see)

    def after_backward(self, run) -> None:
        self.see(run)


def trained(module: nn.Module, train: list[Example], techniques=(), heard=None, **options: Any) -> nn.Module:
    """A module after a short training in fp32, without decay and clipping; options of a job go to the job."""
    own = {name: options.pop(name) for name in list(options) if name in TrainSettings.model_fields}
    settings = {"steps": 3, "lr": 0.05, "batch_size": 6, "precision": "fp32", "weight_decay": 0.0, "clip": None} | own
    options.setdefault("backbone", OfVectors() if isinstance(module, Vectors) else None)
    options.setdefault("task", TASK)
    events = Events([heard.append] if heard is not None else [], "train")
    task = options.pop("task")
    fit(
        Job(
            module,
            task,
            Padded(),
            train,
            settings=TrainSettings(**settings),
            techniques=techniques,
            events=events,
            **options,
        )
    )
    return module


def gradients(module: nn.Module, train: list[Example], techniques=(), **options: Any) -> dict[str, torch.Tensor]:
    """The gradient of a single step over all examples, by the name of the weight."""
    found: dict[str, torch.Tensor] = {}

    class Take(Technique):
        def before_step(self, run) -> None:
            found.update({name: w.grad.clone() for name, w in run.model.named_parameters() if w.grad is not None})

    trained(module, train, (*techniques, Take()), steps=1, **{"batch_size": len(train)} | options)
    return found


class Tones(Task):
    """Which band of a spectrogram is loud; a sound is its spectrogram [frames, bands], as a list of lists."""

    gives: ClassVar[dict[str, str]] = {"modality": "sound", "head": "input", "answer": "label"}

    labels: tuple[str, ...] = ("high", "low")

    def columns(self):
        return Columns(("sound",), ("label",))

    def ask(self, row):
        return np.asarray(row["sound"], np.float32)

    def gold(self, row):
        return of_labels.certain(row.get("label"), self.labels)

    def row(self, x, answer):
        return {"sound": np.asarray(x).tolist(), "label": answer["label"]}

    def examples(self, row, processor):
        return [Example({"spectrogram": self.ask(row)}, of_labels.target(row["label"], self.labels))]

    def head(self):
        return Head("input", len(self.labels), self.labels)

    def loss(self, outputs, batch):
        return of_labels.cross_entropy(outputs, batch)

    def encode(self, x, processor):
        return [Example({"spectrogram": np.asarray(x, np.float32)})]

    def decode(self, x, examples, outputs, processor):
        return of_labels.answer(outputs[0], self.labels)

    def sample(self, n):
        rng, rows = np.random.default_rng(0), []
        for k in range(n):
            sound = rng.normal(0, 0.3, (10, 8))
            sound[:, (k % 2) * 4 : (k % 2) * 4 + 4] += 1
            rows.append({"sound": sound.tolist(), "label": self.labels[k % 2]})
        return rows


class Frames(Backbone):
    """The mean of a spectrogram's frames, and a layer."""

    gives: ClassVar[dict[str, str]] = {"learning": "descent"}
    processor_class: ClassVar[type[Any]] = Padded

    def learn(self, inputs):
        return Padded()

    def build(self, head, processor, folder):
        return _Frames(head.size)


class _Frames(nn.Module):
    def __init__(self, labels: int) -> None:
        super().__init__()
        self.line = nn.Linear(8, labels)

    def forward(self, spectrogram):
        return {"logits": self.line(spectrogram.mean(1))}
