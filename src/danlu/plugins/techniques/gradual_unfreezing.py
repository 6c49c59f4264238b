"""Layers join the training one after the other, from the last to the first (ULMFiT, Howard and Ruder, 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from danlu.blocks import layers
from danlu.contracts import Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from numpy.random import Generator


class GradualUnfreezing(Technique):
    """At first only what follows the layers is trained: pooler and head. What was learnt before is disturbed less.

    Then the layers join, at equal distances, and last of all what lies below them, such as embeddings. What has not
    joined costs no gradient.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",), "trained": ("layers",)}

    over: float = Field(default=0.5, gt=0, le=1)
    """The share of the training after which everything has joined."""

    def start(self, run: Any) -> None:
        if not self._waiting(run, 0):
            what = "layers are to join one after the other, and the method trains none of them"
            raise RecipeError(what, where="techniques.gradual_unfreezing", do="method=full, or more last_layers")

    def draw(self, chosen: list[int], run: Any, rng: Generator) -> list[int]:
        for weight in self._waiting(run, run.step):
            weight.requires_grad = False
        return chosen

    def before_step(self, run: Any) -> None:
        if run.turn is run.turns[-1]:  # what a checkpoint holds is all that is trained in the end
            for weight in _moved(run).values():
                weight.requires_grad = True

    def _waiting(self, run: Any, step: int) -> list[Any]:
        """The weights that are trained in the end, and not at this step."""
        groups = _groups(layers.names(run.model), _moved(run))
        joined = int(step / run.steps / self.over * len(groups) + 1e-9)
        return [weight for group in groups[joined:] for weight in group]


def _moved(run: Any) -> dict[str, Any]:
    return {name: weight for weights in run.moved.values() for name, weight in weights.items()}


def _groups(names: list[str], moved: Mapping[str, Any]) -> list[list[Any]]:
    """The trained weights of each layer, from the last one on, and those below the first; no empty group.

    Where nothing follows the layers, the last of them is trained from the start and is no group.
    """
    below = [place for place, name in enumerate(moved) if layers.below(name, names)]
    groups = [[w for name, w in moved.items() if layers.below(name, [layer])] for layer in reversed(names)]
    groups.append(list(moved.values())[: below[0]] if below else [])
    groups = [group for group in groups if group]
    return groups if sum(map(len, groups)) < len(moved) else groups[1:]
