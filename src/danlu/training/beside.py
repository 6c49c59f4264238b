"""The models whose word is part of every batch of a training."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn

from danlu.contracts import Arrays
from danlu.core.errors import RecipeError
from danlu.training.job import Job


def models_beside(job: Job, model: nn.Module) -> dict[str, Callable[..., Arrays]]:
    """Those that task and techniques want, by name; the reference is the model as it is before training.

    Raises RecipeError for one that nobody brings.
    """
    wanted = dict.fromkeys([*job.task.beside, *(name for t in job.techniques for name in t.beside)])
    given = dict(job.beside)
    if "reference" in wanted:
        seen_by_method = job.method.without(model) if job.method else None
        given["reference"] = seen_by_method or copy.deepcopy(model).eval().requires_grad_(False)
    missing = [name for name in wanted if name not in given]
    if missing:
        what = f"the model {missing[0]!r} is wanted beside the trained one, and nobody brings it"
        raise RecipeError(what, where="training", do=f"give the step an input called {missing[0]}")
    return {name: given[name] for name in wanted}
