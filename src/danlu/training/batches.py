"""Which examples each step sees, and how they become batches.

Batches hold examples of like length, since a padded position costs as much as a true one: of like length in the epoch,
or among a few steps where the task says so. The order is a pure function of (seed, epoch); what is varied in an
example, of (seed, step, place). So no step depends on the ones before, and a resume needs neither saved generators nor
skipped batches.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from danlu.contracts import Batch, Example, Processor, Task
from danlu.training.job import Job, lengths
from danlu.training.randomness import Stream, generator
from danlu.training.throughput import Work

WORTH = 0.05
"""The share of a step's time that making its batches may take before it moves to a thread of its own."""
_LOOK = 8
"""Steps whose time is looked at."""


class Feed:
    """The batches of each step: an epoch sees every example once, in steps of `per_step` examples of like length.

    `among` is how many steps are drawn at random together before they are sorted by length; None: those of an epoch.
    Of two ranks each takes every other of a step's examples, in batches of `size`. Places from `len(job.train)` on are
    those of `job.before`, which only a technique chooses.
    """

    def __init__(self, job: Job, *, size: int, accumulate: int, among: int | None = None) -> None:
        self._examples = [*job.train, *job.before] if job.before else job.train
        self._task, self._processor, self._seed = job.task, job.processor, job.seed
        self._ranks, self._sizes = job.ranks, lengths(job.train, job.processor)
        self.size = math.ceil(size / job.ranks.world)
        before = lengths(job.before, job.processor)
        self._tokens = np.concatenate([self._sizes, before]) if len(before) else self._sizes
        self.per_step = size * accumulate
        self.per_epoch = math.ceil(len(self._sizes) / self.per_step)
        self.among = min(among or self.per_epoch, self.per_epoch)
        self._epoch, self._steps = -1, list[list[int]]()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead: tuple[tuple[int, tuple[int, ...]], Future[list[Batch]]] | None = None
        self._pays, self._shares = False, list[float]()
        self._ended: float | None = None

    def chosen(self, step: int) -> list[int]:
        """The places of a step's examples, the shortest first."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self._shuffled(epoch)
        return list(self._steps[place])

    def _shuffled(self, epoch: int) -> list[list[int]]:
        """Drawn, cut into steps, of which one drawn at random may be smaller, and sorted by length among some steps."""
        rng = generator(self._seed, Stream.ORDER, epoch)
        drawn = rng.permutation(len(self._sizes))
        counts = np.full(self.per_epoch, self.per_step)
        counts[rng.integers(self.per_epoch)] -= self.per_epoch * self.per_step - len(drawn)
        ends = np.cumsum(counts)
        pools = np.split(drawn, ends[self.among - 1 : -1 : self.among])
        drawn = np.concatenate([pool[np.argsort(self._sizes[pool], kind="stable")] for pool in pools])
        steps = np.split(drawn, ends[:-1])
        return [steps[k].tolist() for k in rng.permutation(self.per_epoch)]

    def work(self, chosen: Sequence[int], scored: float) -> Work:
        """What the chosen examples are for the model; `scored` is the sum of their counts."""
        sizes = self._tokens[np.asarray(chosen, dtype=np.int64)]
        return Work(int(sizes.sum()), int(np.square(sizes).sum()), scored)

    def batches(self, chosen: Sequence[int], step: int) -> list[Batch]:
        """The chosen examples varied and collated, at most `size` in a batch; numpy arrays. Of several
        ranks each makes its share.

        Where that takes more than `WORTH` of the time, those of the next step are made in a thread meanwhile. They are
        the same, a function of what is chosen and of the step; what a technique then draws otherwise is made anew.
        """
        began, key = time.perf_counter(), (step, tuple(chosen))
        guessed, future = self._ahead or (None, None)
        self._ahead = None
        made = future.result() if future is not None and guessed == key else self.made(chosen, step)
        if self._pays:
            following = self.chosen(step + 1)
            self._ahead = (step + 1, tuple(following)), self._thread.submit(self.made, following, step + 1)
        elif len(self._shares) < _LOOK:
            self._measure(began, time.perf_counter())
        return made

    def _measure(self, began: float, ended: float) -> None:
        """Whether it pays: decided once, from the median share of the first steps."""
        if self._ended is not None:
            self._shares.append((ended - began) / (ended - self._ended))
        self._ended = ended
        if len(self._shares) == _LOOK:
            self._pays = statistics.median(self._shares) > WORTH

    def made(self, chosen: Sequence[int], step: int) -> list[Batch]:
        """The same without a thread, and without a trace here."""
        places = range(len(chosen))[self._ranks.rank :: self._ranks.world]
        drawn = [self._examples[chosen[place]] for place in places]
        if type(self._task).vary is not Task.vary:
            rngs = (generator(self._seed, Stream.VARY, step, place) for place in places)
            drawn = [self._task.vary(example, rng) for example, rng in zip(drawn, rngs, strict=True)]
        return list(collated(drawn, self._task, self._processor, self.size))


def sorted_batches(examples: Sequence[Example], task: Task, processor: Processor, size: int) -> Iterator[Batch]:
    """All examples, as they are, in batches of like length; for looking at them without training."""
    order = np.argsort(lengths(examples, processor), kind="stable")
    return collated([examples[k] for k in order], task, processor, size)


def collated(examples: Sequence[Example], task: Task, processor: Processor, size: int) -> Iterator[Batch]:
    """The examples in batches of at most `size`, in their order; numpy arrays."""
    return (task.collate(examples[k : k + size], processor) for k in range(0, len(examples), size))
