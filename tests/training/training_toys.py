"""Tiny tasks, models and techniques to train with; every technique does something that can be seen in the weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from danlu.blocks.taught import SelfTaught
from danlu.contracts import Columns, Example, Head, Method, Task, Technique, Turn
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.settings import TrainSettings


class Words:
    """A processor whose inputs are lists of ids."""

    pad: ClassVar[dict[str, float]] = {"ids": 0}

    def inputs(self, x: Any) -> dict[str, Any]:
        return {"ids": np.array(x, dtype=np.int64)}

    def save(self, folder: Path) -> None:
        pass

    @classmethod
    def load(cls, folder: Path) -> Words:
        return cls()


class Tagging(Task):
    """A tag for every id: the loss of an example sums over its positions, so `count` is its length."""

    pad: ClassVar[dict[str, float]] = {"tag": -1}

    def columns(self):
        return Columns(("ids",), ("tags",))

    def ask(self, row):
        return row["ids"]

    def gold(self, row):
        return row.get("tags")

    def row(self, x, answer):
        return {"ids": x, "tags": answer}

    def examples(self, row, processor):
        targets = {"tag": np.array(row["tags"], dtype=np.int64)}
        return [Example(processor.inputs(row["ids"]), targets, count=len(row["ids"]))]

    def head(self):
        return Head("position", 3)

    def loss(self, outputs, batch):
        tags = batch.targets["tag"]
        scores = outputs["logits"].float().log_softmax(-1).gather(-1, tags.clamp(min=0)[..., None])[..., 0]
        return -(scores * (tags >= 0)).sum(-1)

    def encode(self, x, processor):
        return [Example(processor.inputs(x))]

    def decode(self, x, examples, outputs, processor):
        return outputs[0]["logits"].argmax(-1)[: len(x)].tolist()

    def sample(self, n):
        rng = np.random.default_rng(7)
        rows = []
        for k in range(n):
            ids = rng.integers(1, 12, size=1 + (k * 7) % 20).tolist()
            rows.append({"ids": ids, "tags": [i % 3 for i in ids]})
        return rows


class NoisyTagging(Tagging):
    """Varies its examples: one id of each is masked."""

    def vary(self, example, rng):
        ids = example.inputs["ids"].copy()
        ids[rng.integers(len(ids))] = 0
        return Example({"ids": ids}, example.targets, example.count)


class BesideTagging(Tagging):
    """Stays near what the model said before it was trained."""

    beside: ClassVar[tuple[str, ...]] = ("reference",)

    def loss(self, outputs, batch):
        away = (outputs["logits"] - batch.beside["reference"]["logits"]).square().sum((-1, -2))
        return super().loss(outputs, batch) + 0.1 * away


class Tagger(nn.Module):
    """Embedding, dropout, norm and two linear layers."""

    def __init__(self, seed: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(12, 8)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(dropout)
        self.hidden = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, ids):
        if self.training:
            self.seen += ids.numel()
        return {"logits": self.head(torch.tanh(self.hidden(self.drop(self.norm(self.embed(ids))))))}


class Adversaries(Tagging):
    """Two turns: the tagger learns to tag, the other part to tell the tagger's errors; each moves its own weights."""

    def turns(self, model):
        def judge(model, batch):
            said = model.tagger(**batch.inputs)["logits"].detach()
            return {"doubt": model.critic(said)[..., 0], "said": said}

        def error(outputs, batch):
            tags = batch.targets["tag"]
            wrong = (outputs["said"].argmax(-1) != tags).float()
            return ((outputs["doubt"].sigmoid() - wrong).square() * (tags >= 0)).sum(-1)

        return [
            Turn("tagger", lambda model, batch: model.tagger(**batch.inputs), self.loss, "tagger."),
            Turn("critic", judge, error, "critic."),
        ]


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tagger, self.critic = Tagger(), nn.Linear(3, 1)


class Counting(SelfTaught):
    """Counts how often each id has each tag."""

    def __init__(self, whole_set: bool = False) -> None:
        super().__init__()
        self.whole_set = whole_set
        self.calls = 0
        self.register_buffer("table", torch.zeros(12, 3))

    def update(self, batch):
        self.calls += 1
        tags = batch.targets["tag"]
        for ids, row in zip(batch.inputs["ids"], tags, strict=True):
            for i, tag in zip(ids[row >= 0], row[row >= 0], strict=True):
                self.table[i, tag] += 1
        return torch.ones(len(tags))

    def forward(self, ids):
        return {"logits": (self.table[ids] + 1).log()}


class OnlyHead(Method):
    """Trains the head alone."""

    def wrap(self, model):
        for name, weight in model.named_parameters():
            weight.requires_grad = name.startswith("head.")
        return model


class Frozen(Method):
    """Trains nothing."""

    def wrap(self, model):
        return model.requires_grad_(False)


# ---- techniques: one for each moment ------------------------------------------------------------------------------------


class FGM(Technique):
    """Goodfellow et al., 2015, on embeddings: once more, from the worst place nearby."""

    size: float = 1.0

    def after_backward(self, run):
        weight = run.model.embed.weight
        if weight.grad is None or weight.grad.norm() == 0:
            return
        with torch.no_grad():
            away = self.size * weight.grad / weight.grad.norm()
            weight.add_(away)
        run.again()
        with torch.no_grad():
            weight.sub_(away)


class EMA(Technique):
    """An average of the weights, shown when the model answers and kept at the end."""

    decay: float = 0.9

    def start(self, run):
        run.kept(self)["average"] = {name: w.detach().clone() for name, w in run.trained().items()}

    def after_step(self, run):
        for name, average in run.kept(self)["average"].items():
            average.lerp_(run.trained()[name].detach(), 1 - self.decay)

    def _swap(self, run):
        with torch.no_grad():
            for name, average in run.kept(self)["average"].items():
                weight = run.trained()[name]
                own = weight.clone()
                weight.copy_(average)
                average.copy_(own)

    def answering(self, run, answering):
        self._swap(run)

    def finish(self, run):
        self._swap(run)


class EWC(Technique):
    """A spring to the weights of the start (Kirkpatrick et al., 2017, with a Fisher of one)."""

    strength: float = 5.0

    def start(self, run):
        kept = run.kept(self)
        kept["starts"] = kept.get("starts", 0) + 1
        kept["anchor"] = {name: w.detach().clone() for name, w in run.trained().items()}

    def loss(self, loss, run):
        anchor = run.kept(self)["anchor"]
        away = sum((w - anchor[name]).square().sum() for name, w in run.trained().items())
        return loss + self.strength * away * run.batch.count


class DP(Technique):
    """Abadi et al., 2016: a Poisson draw, the gradient of each example clipped, noise, and a divisor that leaks nothing."""

    rate: float = 0.2
    clip: float = 1.0
    noise: float = 0.1

    def draw(self, chosen, run, rng):
        run.divisor = self.rate * len(run.job.train)
        return np.flatnonzero(rng.random(len(run.job.train)) < self.rate).tolist()

    def backward(self, loss, run):
        weights = list(run.trained().values())
        for one in loss:
            gradients = torch.autograd.grad(one, weights, retain_graph=True, allow_unused=True)
            gradients = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
            norm = torch.stack([g.norm() for g in gradients]).norm()
            for w, g in zip(weights, gradients, strict=True):
                g = g * (self.clip / norm).clamp(max=1) / run.divisor
                w.grad = g if w.grad is None else w.grad + g

    def before_step(self, run):
        for w in run.trained().values():
            w.grad.add_(torch.randn_like(w) * self.noise * self.clip / run.divisor)


class DP2(DP):
    """Another one that replaces the backward pass."""


class Teacher(Technique):
    """Wants another model beside."""

    beside: ClassVar[tuple[str, ...]] = ("teacher",)

    def loss(self, loss, run):
        said = run.batch.beside["teacher"]["logits"]
        return loss + (run.outputs["logits"] - said).square().sum((-1, -2))


class Look(Technique):
    """Looks at the run before each step; changes nothing."""

    def __init__(self, see):
        super().__init__()
        object.__setattr__(self, "see", see)

    def before_step(self, run):
        self.see(run)


class LookAfter(Technique):
    """Looks at the run after each step; changes nothing, and suits a model that counts."""

    def __init__(self, see):
        super().__init__()
        object.__setattr__(self, "see", see)

    def after_step(self, run):
        self.see(run)


class Hears(LookAfter):
    """Looks at the run when a loss was found, and at no weight."""

    after_step = Technique.after_step

    def loss(self, loss, run):
        self.see(run)
        return loss


# ---- jobs ------------------------------------------------------------------------------------------------------------


def examples(task: Task, n: int, skip: int = 0) -> list[Example]:
    return [example for row in task.sample(skip + n)[skip:] for example in task.examples(row, Words())]


def job(task: Task | None = None, module: nn.Module | None = None, n: int = 30, **options: Any) -> Job:
    """A small training in fp32; options that are settings go there, the others to the job."""
    task = task or Tagging()
    own = {name: options.pop(name) for name in list(options) if name in TrainSettings.model_fields}
    settings = TrainSettings(**({"precision": "fp32", "batch_size": 6, "lr": 0.01, "steps": 12} | own))
    options.setdefault("train", examples(task, n))
    return Job(module if module is not None else Tagger(), task, Words(), settings=settings, **options)


def weights_sha256(module: nn.Module) -> str:
    """One SHA-256 over the names and bytes of all tensors of a module."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def listen(events_class: Any) -> tuple[Any, list[Any]]:
    """Events and the list of what was heard."""
    heard: list[Any] = []
    return events_class([heard.append]), heard


def loss_of(module, task, held) -> float:
    """Σ loss / Σ count, one example at a time."""
    module.eval()
    batches = [task.collate([example], Words()).map(torch.from_numpy) for example in held]
    with torch.no_grad():
        total = sum(float(task.loss(module(**batch.inputs), batch).sum()) for batch in batches)
    return total / sum(example.count for example in held)


def weights_after(*args, **options) -> str:
    one = job(*args, **options)
    fit(one)
    return weights_sha256(one.module)
