"""A training under way, as the loop and the techniques see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from danlu.blocks import loops
from danlu.blocks.halves import LEAST, Halves
from danlu.blocks.taught import SelfTaught
from danlu.blocks.tensors import to_torch
from danlu.contracts import Arrays, Batch, Example, Technique, Turn
from danlu.core.errors import DataError, RecipeError
from danlu.training import guards, optim, schedule, sharded
from danlu.training.batches import Feed, sorted_batches
from danlu.training.beside import models_beside
from danlu.training.checkpoint import State, copied
from danlu.training.embedded import Embedded
from danlu.training.groups import groups
from danlu.training.inside import Inside
from danlu.training.job import Job, chosen_device, planned_steps
from danlu.training.precision import Precision, autocast
from danlu.training.pulse import Pulse
from danlu.training.randomness import Stream, generator, reseed
from danlu.training.scaling import Scaling
from danlu.training.settings import FROM_SCRATCH, or_own
from danlu.training.throughput import Work
from danlu.training.watch import Watch


class Run:
    """What a technique may look at and lean on.

    `step` counts from 0, of `steps`; `turn` and `batch` are the present ones, `outputs` what the model said of the
    batch (for those that work at `vary`, `loss`, `backward` or `after_backward`; else it may be learnt in halves, which
    leave none); `chosen` are the places of this step's examples in the training set, `expected` how many there are
    unless a technique draws others. `total` is the sum of their counts, `divisor` what the loss is divided by: the
    total, unless a technique's `draw` set another (one that does not tell how many were drawn). `optimizers` has one a
    turn.
    """

    def __init__(self, job: Job, precision: Precision) -> None:
        if not job.train:
            raise DataError("the training set is empty", where="train", do="check the source and the operators")
        self.job, self.settings, self.precision = job, job.settings, precision
        self.task, self.backbone, self.events, self.seed = job.task, job.backbone, job.events, job.seed
        self.techniques, self.ranks = tuple(job.techniques), job.ranks
        self.device = chosen_device(job.settings.device)
        self.on = f"{self.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        if self.precision == "bf16" and loops.available():
            self.on += ", loops in C"
        if self.ranks.world > 1:
            self.on += f", {self.ranks.world} ranks"
        self.model = job.module if self.ranks.sharded else job.module.to(self.device)
        self.taught = self.model if isinstance(self.model, SelfTaught) else None
        self.beside = models_beside(job, self.model)
        if self.ranks.sharded:
            turns = len(job.task.turns(self.model))
            guards.check_shared(self.techniques, turns, self.settings.optimizer, self.model)
            self.model = sharded.cut(self.model, self.ranks.world, self.device)
            self.on += ", sharded"
        self.model.train()
        self.turns = job.task.turns(self.model)
        self._plan_steps()
        self.plan_moves()
        self.pulse = Pulse(job.events, self.steps, self.device)
        self.step, self.turn, self.lr = 0, self.turns[0], 0.0
        self.chosen: list[int] = []
        self.batch: Batch = Batch({}, {}, ())
        self.outputs: Arrays = {}
        self.embedded, self.inside = Embedded(), Inside(self)
        self.halves: Halves | None = None
        self.total, self.divisor = 0.0, 0.0
        self._said, self._moved = torch.zeros(()), True
        self._norm: Tensor | None = None
        self._kept: dict[str, dict[str, Any]] = {}

    def _plan_steps(self) -> None:
        settings, examples = self.settings, self.job.train
        if self.taught is not None and self.taught.whole_set:
            self.feed = Feed(self.job, size=len(examples), accumulate=1)
            self.steps = 1
        else:
            self.feed = Feed(self.job, size=settings.size, accumulate=settings.accumulate, among=self.task.among)
            self.steps = planned_steps(settings, self.feed.per_epoch, descends=self.taught is None)
        self.expected = min(self.feed.per_step, len(examples))
        every = settings.evaluate_every or max(self.feed.per_epoch, -(-self.steps // 10))
        self.watch = Watch(every, self.steps, self.job.judge.better if self.job.judge else "lower", settings.patience)

    def plan_moves(self) -> None:
        guards.check_techniques(self.techniques, self.job.method, descends=self.taught is None)
        self.scaling = Scaling(self.device, self.techniques) if self.precision == "fp16" and not self.taught else None
        guards.check_parallel(self.techniques, self.ranks.world, descends=self.taught is None)
        self._replacing = next((t for t in self.techniques if guards.defines(t, "backward")), None)
        self._varying = any(guards.defines(technique, "vary") for technique in self.techniques)
        rate = self.job.range_test.get("lr") if self.settings.lr == "find" else self.settings.lr
        self.top_lr = rate or FROM_SCRATCH * self.settings.optimizer.lr_scale
        self.warmup = or_own(self.settings.warmup, self.settings.schedule.warmup)
        self.moved = {turn.name: self.trained(turn.moves) for turn in self.turns if self.taught is None}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, weights in self.moved.items():
            guards.check_trained(name, weights)
            self.optimizers[name] = self._optimizer(weights)

    def _optimizer(self, weights: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        settings, lowest = self.settings, list[nn.Module]()
        if self.backbone and settings.layer_decay != 1.0:
            lowest = self.backbone.embeddings(self.model)
        decay = or_own(settings.weight_decay, settings.optimizer.weight_decay)
        options: dict[str, Any] = {"layer_decay": settings.layer_decay, "embeddings": lowest}
        return settings.optimizer.build(groups(self.model, weights, lr=self.top_lr, weight_decay=decay, **options))

    # ---- for techniques ----------------------------------------------------------------------------------------------

    def kept(self, technique: Technique) -> dict[str, Any]:
        """What survives a kill for a technique: tensors, JSON values, dicts and lists of them.

        In `start` it already holds what a checkpoint brings, so that costly preparation can be skipped; what `start`
        writes there is then replaced by what the checkpoint brings.
        """
        place = next(k for k, other in enumerate(self.techniques) if other is technique)
        return self._kept.setdefault(f"{place} {technique.name}", {})

    def open_embeddings(self, technique: Technique, *, gradients: bool = False) -> None:
        """Let `vectors` and `Batch.embed` be used from now on; with `gradients`, also where the method freezes them.

        Raises RecipeError where the model has no embeddings.
        """
        modules = self.backbone.embeddings(self.model) if self.backbone else []
        if not modules:
            named = self.backbone.name if self.backbone else "this model"
            what = f"{technique.name} works on the vectors of ids, and {named} has no embeddings"
            raise RecipeError(what, where=f"techniques.{technique.name}", do=f"leave {technique.name} out")
        self.embedded.open(modules, gradients=gradients)

    @property
    def vectors(self) -> list[Tensor]:
        """What the embeddings gave in the latest pass, a tensor a call, after `Batch.embed`; see `open_embeddings`."""
        return self.embedded.vectors

    def again(self, added: Sequence[Tensor] = ()) -> None:
        """Forward, loss and backward once more on the present batch, with `added` to `vectors`; gradients add up.

        Raises RecipeError when a technique replaces the backward pass, since that would be passed by.
        """
        if self._replacing:
            what = f"a technique repeats the backward pass, which {self._replacing.name} replaces"
            raise RecipeError(what, where="techniques", do=f"leave {self._replacing.name} or the other one out")
        self._forward_and_backward(added)

    def losses(self, added: Sequence[Tensor] = ()) -> Tensor:
        """Forward and loss once more on the present batch, with `added` to `vectors`: [n], and no backward."""
        with autocast(self.precision, self.device), self.embedded.passing(self.batch, added):
            self.outputs = self.turn.forward(self.model, self.batch)
        if not self.batch.mixed:
            return self._loss_of(self.batch)
        whole = self.batch
        loss = torch.stack([share * self._loss_of(part) for share, part in whole.mixed]).sum(0)
        self.batch = whole
        return loss

    def _loss_of(self, batch: Batch) -> Tensor:
        self.batch = batch
        with autocast(self.precision, self.device):
            loss = self.turn.loss(self.outputs, batch)
        for technique in self.techniques:
            loss = technique.loss(loss, self)
        return loss

    def batches(self, examples: Sequence[Example], size: int | None = None) -> Iterator[Batch]:
        """Examples as they are, in batches of like length, with what the models beside say of them."""
        for batch in sorted_batches(examples, self.task, self.job.processor, size or self.settings.size):
            yield self.placed(batch)

    def trained(self, prefix: str = "") -> dict[str, nn.Parameter]:
        """The weights that are trained, by name: of a turn (`run.turn.moves`), or all."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad and name.startswith(prefix)}

    # ---- a step, for the loop ----------------------------------------------------------------------------------------

    def draw(self) -> list[Batch]:
        """The micro-batches of this step, with what the models beside say of them."""
        self.divisor = 0.0
        self.chosen = self.feed.chosen(self.step)
        for k, technique in enumerate(self.techniques):
            self.chosen = technique.draw(self.chosen, self, generator(self.seed, Stream.DRAW, self.step, k))
        drawn = self.feed.batches(self.chosen, self.step)
        if self.ranks.sharded:
            drawn = sharded.evened(drawn, self.job)
        self.total = self.ranks.sum(float(sum(batch.count.sum() for batch in drawn)))
        batches = [self.placed(batch) for batch in drawn]
        if self._varying and self.total:
            batches = [self._varied(batch, place) for place, batch in enumerate(batches)]
            varied = float(sum(batch.count.sum() for batch in batches))
            before, self.total = self.total, self.ranks.sum(varied)
            self.divisor *= self.total / before
        self.divisor = self.divisor or self.total or 1.0
        return batches

    def _varied(self, batch: Batch, place: int) -> Batch:
        place = place * self.ranks.world + self.ranks.rank
        for k, technique in enumerate(self.techniques):
            batch = technique.vary(batch, self, generator(self.seed, Stream.MIX, self.step, place, k))
        return batch

    def placed(self, batch: Batch) -> Batch:
        """A batch on the device, with what the models beside say of it."""
        batch = to_torch(batch, self.device)
        with torch.no_grad(), autocast(self.precision, self.device):
            batch.beside = {name: self.task.forward(other, batch) for name, other in self.beside.items()}
        return batch

    def passed(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """The losses [n] of the first turn for a batch, without a trace in the run."""
        with autocast(self.precision, self.device):
            return self.turns[0].loss(self.turns[0].forward(model or self.model, batch), batch)

    def work(self) -> Work:
        """What this step's examples are for the model."""
        return self.feed.work(self.chosen, self.total)

    def begin_turn(self, turn: Turn) -> None:
        """No gradients; for a step that drew no example, gradients of zero, which move the weights all the same."""
        self.turn, self._said, self._norm = turn, torch.zeros((), device=self.device), None
        self.model.zero_grad()
        if not self.chosen:
            for weight in self.moved.get(turn.name, {}).values():
                weight.grad = torch.zeros_like(weight)

    def learn(self, batch: Batch) -> None:
        """Forward, loss and backward on a batch; a model that counts, counts."""
        self.batch = batch
        if self.taught is not None:
            self._said += self.taught.update(batch).sum()
        elif self.halves and len(batch) >= LEAST:
            self._said += self.halves.learn(batch, self.passed, self.divisor)
        else:
            self._said += self._forward_and_backward()

    def _forward_and_backward(self, added: Sequence[Tensor] = ()) -> Tensor:
        loss = self.losses(added)
        if self.ranks.sharded and not self.batch.count.any():
            loss = loss * 0  # a batch that is there for the meeting alone
        if self._replacing:
            self._replacing.backward(loss, self)
        else:
            mean = loss.sum() / self.divisor
            (self.scaling.up(mean) if self.scaling else mean).backward()  # type: ignore[no-untyped-call]
        return loss.detach().sum()

    def add_up(self) -> None:
        """Add up the gradients and losses of all ranks; what is drawn from now on is the same in each.

        Gradients of scaled losses have their true size from here on.
        """
        if self.ranks.world > 1:
            self._said = self.ranks.add_up(list(self.moved[self.turn.name].values()), self._said)
            reseed(self.seed, Stream.STEP, self.step)
        if self.scaling:
            self.scaling.down(self.optimizers[self.turn.name])

    def move(self) -> None:
        """Clip the gradients and move the weights, at the learning rate of this step."""
        if self.taught is not None:
            return
        optimizer, weights, settings = self.optimizers[self.turn.name], self.moved[self.turn.name], self.settings
        self.lr = self.top_lr * schedule.factor(self.step, self.steps, self.warmup, settings.schedule)
        optim.set_rate(optimizer, self.lr)
        if settings.l1 or settings.l2:
            optim.penalize(optimizer, l1=settings.l1, l2=settings.l2)
        if self.scaling:
            self._moved, self._norm = self.scaling.step(optimizer, weights.values(), settings.clip)
            return
        if settings.clip:
            self._norm = optim.clip(optimizer, weights.values(), settings.clip)
        optimizer.step()

    def end_turn(self) -> None:
        """Note the mean loss of the turn and the norm of its gradient, where the step learnt anything."""
        loss = self._said / self.total if self.total and self._moved else None
        self.pulse.hear(self.step, self.turn.name, self.lr, loss=loss, norm=self._norm)

    # ---- between steps -----------------------------------------------------------------------------------------------

    def changing(self) -> dict[str, Tensor]:
        """All that training changes in the model: trained weights, and buffers that a saved model holds."""
        saved = self.model.state_dict(keep_vars=True).keys()
        buffers = {name: buffer for name, buffer in self.model.named_buffers() if name in saved}
        return {**self.trained(), **buffers}

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Give everything that training changes other values."""
        with torch.no_grad():
            for name, tensor in self.changing().items():
                if tensor.shape != tensors[name].shape:  # a buffer of what is counted finds its size in training
                    tensor.resize_(tensors[name].shape)
                tensor.copy_(sharded.shared_like(tensor, tensors[name]))

    @contextmanager
    def answering(self) -> Iterator[None]:
        """The model as it would answer: in eval mode, with the weights that techniques show."""
        for technique in self.techniques:
            technique.answering(self, True)
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            sharded.rest(self.model)
            self.model.train()
            for technique in reversed(self.techniques):
                technique.answering(self, False)

    def look(self) -> None:
        """Measure the validation set, and remember the weights when they are the best so far."""
        judge = self.job.judge
        with self.answering():
            mine = self._measured() if self.ranks.sharded else None  # all ranks ask a model that none has whole
            number = self.ranks.of_first(self._measured if mine is None else lambda: mine)
            if self.watch.add(self.step, number) and self.settings.keep == "best":
                self.watch.best_weights = {name: tensor.detach().clone() for name, tensor in self.changing().items()}
            if self.ranks.rank == 0 or self.ranks.sharded:
                self.job.looked(self.model, self.step)
        self.events.numbers(step=self.step, **{f"validation_{judge.name if judge else 'loss'}": number})

    def _measured(self) -> float:
        judge = self.job.judge
        return judge.measure(self.model, self.device) if judge else self._validation_loss()

    def _validation_loss(self) -> float:
        """Σ loss / Σ count of the first turn over the validation set, as in a step."""
        total, count = 0.0, 0.0
        for batch in self.batches(self.job.validation):
            count += float(batch.count.sum())
            total += float(self.passed(batch).sum())
        return total / count

    def take_best(self) -> None:
        """End with the weights that did best on the validation set, unless those are the present ones."""
        best = self.watch.best
        if best and best[0] < self.step and self.watch.best_weights:
            self.fill(self.watch.best_weights)
        self.model.eval()

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """All that a checkpoint holds, whole; all ranks of a sharded training ask together."""
        looks, pulse = self.watch.history, self.pulse.notes()
        notes = {
            "precision": self.precision,
            "on": self.on,
            "looks": looks,
            "pulse": pulse,
            "range_test": self.job.range_test,
            "batch": [self.settings.size, self.settings.accumulate],
            "scaling": self.scaling.notes() if self.scaling else None,
        }
        moving = {
            f"{turn}/{key}": tensor
            for turn, weights in self.moved.items()
            for key, tensor in optim.state(self.optimizers[turn], weights).items()
        }
        best_step = self.watch.best[0] if self.watch.best and self.watch.best_weights else None
        weights, moving, best = map(sharded.wholes, (self.changing(), moving, self.watch.best_weights))
        return State(self.step, notes, weights, moving, self._kept, best_step, best)

    def recall(self, saved: State) -> None:
        """Give techniques back what they kept; their tensors are on the device."""
        self._kept = copied(saved.kept, self.device)

    def restore(self, saved: State) -> None:
        """Go on where a checkpoint was made."""
        self.recall(saved)
        self.fill(saved.weights)
        for turn, weights in self.moved.items():
            own = {k.removeprefix(f"{turn}/"): t for k, t in saved.optimizer.items() if k.startswith(f"{turn}/")}
            optim.restore(self.optimizers[turn], weights, own)
        self.watch.restore(saved.notes["looks"], saved.best)
        self.pulse.restore(saved.notes["pulse"])
        if self.scaling:
            self.scaling.restore(saved.notes["scaling"])
        self.step = saved.step
        self.events.note(f"resumed at step {saved.step} of {self.steps}")
        if saved.notes["on"] != self.on:
            made_on = saved.notes["on"]
            self.events.warn(f"the checkpoint was made on {made_on}; this is {self.on}, so the last digits may differ")
