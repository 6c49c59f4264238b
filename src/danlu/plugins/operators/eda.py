"""Easy data augmentation: swap, delete or insert a few words (Wei and Zou, 2019)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from danlu.blocks.augment import AugmentText, Varied, pick, some
from danlu.blocks.words import is_unspaced, units

Kind = Literal["swap", "delete", "insert"]


class EDA(AugmentText):
    """New training rows, each with one kind of change, drawn by lot; in Chinese the units are characters.

    It helps on a few hundred rows and less on thousands. The fourth change of the paper, synonyms, is the operator
    `synonym`; what is inserted here is a word of the text itself, where the paper takes a synonym of one.
    """

    kinds: tuple[Kind, ...] = Field(default=("swap", "delete", "insert"), min_length=1)
    """What is drawn from."""
    rate: float = Field(default=0.1, gt=0, lt=1)
    """The share of the words that is swapped, deleted or inserted; at least one."""

    def vary(self, value: str, rng: np.random.Generator) -> Varied | None:
        kind: Kind = pick(rng, self.kinds)
        words = units(value)
        if len(words) < 2:
            return None
        changed = {"swap": _swap, "delete": _delete, "insert": _insert}[kind](words, self.rate, rng)
        return Varied("".join(changed), kind)


def _swap(words: list[str], rate: float, rng: np.random.Generator) -> list[str]:
    """As many swaps of two words as `rate` says; the spaces before them stay where they are."""
    spaces = [word[: len(word) - len(word.lstrip())] for word in words]
    bare = [word.lstrip() for word in words]
    for _ in range(max(1, round(rate * len(bare)))):
        one, other = rng.choice(len(bare), 2, replace=False)
        bare[one], bare[other] = bare[other], bare[one]
    return [space + word for space, word in zip(spaces, bare, strict=True)]


def _delete(words: list[str], rate: float, rng: np.random.Generator) -> list[str]:
    gone = set(some(rng, range(len(words)), rate)[: len(words) - 1])
    kept = [word for place, word in enumerate(words) if place not in gone]
    return [kept[0].lstrip() if 0 in gone else kept[0], *kept[1:]]


def _insert(words: list[str], rate: float, rng: np.random.Generator) -> list[str]:
    made = list(words)
    for _ in range(max(1, round(rate * len(words)))):
        word = pick(rng, words).strip()
        if word:
            made.insert(int(rng.integers(1, len(made) + 1)), word if is_unspaced(word[0]) else f" {word}")
    return made
