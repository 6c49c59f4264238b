"""What a pass keeps for the way back is counted, and let go."""

import gc
import weakref
from functools import partial

import torch
from torch import nn

from danlu.blocks.memory import kept_bytes


def test_what_was_counted_is_let_go_with_the_model():
    """A pass that is held by what it holds is never freed: a tune of many trainings kept each of their models."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    assert kept_bytes(partial(model, torch.ones(4, 8)), model) > 0
    weights = [weakref.ref(w) for w in model.parameters()]
    del model
    gc.collect()
    assert [w() for w in weights] == [None] * 4
