"""Broken tokenizers and initialisers; see `broken`."""

from __future__ import annotations

import os

import torch

from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Initialiser
from danlu.plugins.tokenizers.character import Character


class Threaded(Character):
    """Writes down how many threads it had."""

    def learn(self, texts, special, most):
        found = super().learn(texts, special, most)
        found._files["threads.txt"] = os.environ.get("RAYON_NUM_THREADS", "").encode()
        return found


class Boundless(Character):
    """Forgets how many tokens the model takes."""

    def learn(self, texts, special, most):
        return super().learn(texts, special, 10_000)


class Adorned(TextProcessor):
    """Cuts in a way that its files do not say."""

    def inputs(self, x, limit=None):
        return super().inputs(x.lower(), limit)


class Secretive(Character):
    """Its processor does more than its files."""

    def learn(self, texts, special, most):
        found = super().learn(texts, special, most)
        return Adorned(found._files, most)


class Partial(Initialiser):
    """Draws half of the weights."""

    def fill(self, weight, scale=1.0):
        weight[::2] = torch.randn_like(weight[::2]) * scale


class Steady(Initialiser):
    """Is of one width, whatever it is told."""

    def fill(self, weight, scale=1.0):
        weight.normal_()
