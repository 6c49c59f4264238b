"""Randomness as a function of (seed, step, place): nothing random is saved, so nothing can be restored wrongly."""

from __future__ import annotations

import random
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a random number is drawn for. Two streams of one seed have nothing in common."""

    START = 0
    ORDER = 1
    DRAW = 2
    VARY = 3
    STEP = 4
    MIX = 5


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """The generator of one place of one stream: always the same, whatever was drawn elsewhere."""
    return np.random.default_rng([abs(seed), stream, *place])


def reseed(seed: int, stream: Stream, *place: int) -> None:
    """Reseed torch (all devices), numpy and `random`, so that what others drew in between changes nothing."""
    high, low = (int(word) for word in np.random.SeedSequence([abs(seed), stream, *place]).generate_state(2))
    torch.manual_seed(high << 31 ^ low)
    np.random.seed(low)
    random.seed(low)
