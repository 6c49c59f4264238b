"""How common each label is among training examples, for techniques that make up for rare ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from danlu.blocks.labels import TARGET
from danlu.contracts import Example
from danlu.core.errors import RecipeError


def counts(examples: Sequence[Example], labels: Sequence[str], technique: str) -> Tensor:
    """Examples of each label, float32 [labels]. Raises RecipeError for examples without exactly one label."""
    if not labels or any(getattr(one.targets.get(TARGET), "shape", None) != () for one in examples):
        what = f"{technique} needs examples with exactly one label each, and these have others"
        raise RecipeError(what, where="techniques", do=f"leave {technique} out, or choose a task that gives one label")
    places = torch.tensor([int(one.targets[TARGET]) for one in examples], dtype=torch.int64)
    return torch.bincount(places, minlength=len(labels)).float()


def by_label(given: Mapping[str, float], labels: Sequence[str], option: str) -> Tensor:
    """The numbers given by label, in the order of the labels, 1 where none is given.

    Raises RecipeError for a label that does not exist.
    """
    if strange := [label for label in given if label not in labels]:
        what = f"there is no label {strange[0]!r}; the labels are: {', '.join(labels[:20])}"
        raise RecipeError(what, where=option, do="spell it as in the data, as text")
    return torch.tensor([given.get(label, 1.0) for label in labels])


def told(rows: Tensor, numbers: Tensor, labels: Sequence[str], most: int = 10) -> str:
    """Labels with their examples and a number each, the rarest first, for a note."""
    order: Any = torch.argsort(rows, stable=True).tolist()
    each = [f"{labels[k]!r} ({int(rows[k]):,} rows) {float(numbers[k]):.3g}" for k in order[:most]]
    return ", ".join(each) + (f" and {len(order) - most} more" if len(order) > most else "")
