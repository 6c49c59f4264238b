"""Broken optimizers and schedules, and a model that looks ahead; see `broken`."""

from __future__ import annotations

import itertools

import torch

from danlu.contracts import Optimizer, Schedule
from danlu.testing.reader import Reader, _Reader


class Lazy(Optimizer):
    """Leaves the first weight alone."""

    def build(self, groups):
        return torch.optim.SGD([{**group, "params": group["params"][:1]} for group in groups], lr=1.0)


class Stubborn(Optimizer):
    """Moves at a rate of its own."""

    def build(self, groups):
        made = torch.optim.SGD(groups, lr=1.0)
        step = made.step

        def stubborn():
            for group in made.param_groups:
                group["lr"] = 0.1
            step()

        made.step = stubborn
        return made


class Amnesic(Optimizer):
    """Keeps what it needs beside its state."""

    def build(self, groups):
        made = torch.optim.SGD(groups, lr=1.0)
        step, calls = made.step, itertools.count(1)

        def forgetful():
            for group in made.param_groups:
                group["lr"] /= next(calls)
            step()

        made.step = forgetful
        return made


class Negative(Schedule):
    """Falls below zero."""

    def fall(self, step, steps, risen):
        return 1 - 2 * step / steps


class Low(Schedule):
    """Never reaches the rate that was asked for."""

    def rise(self, step, steps):
        return 0.1

    def fall(self, step, steps, risen):
        return 0.5


_ASKED = itertools.count(1)


class Counting(Schedule):
    """Depends on how often it was asked."""

    def fall(self, step, steps, risen):
        return 1 / next(_ASKED)


class Peeking(Reader):
    """Sees what comes next."""

    def build(self, head, processor, folder):
        return _Reader(processor.size, processor.size, causal=False)
