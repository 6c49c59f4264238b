"""Train the last layers and the head; what lies below them stays (Howard and Ruder, 2018, freeze in the same way)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field
from torch import nn

from danlu.blocks import layers
from danlu.contracts import Method
from danlu.core.errors import RecipeError


class LastLayers(Method):
    """Costs less time and memory than `full`: no gradient is computed, and nothing is kept for one, below the layers.

    The layers are those of the model's longest outermost list of modules (a BERT's encoder, a network's stages), or
    its direct parts where it has no such list. What comes after the last of them (norm, pooler, head) is trained too,
    and so are weights that are still random when training starts, wherever they lie.
    """

    main: ClassVar[str] = "layers"
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",)}
    gives: ClassVar[Mapping[str, str]] = {"trained": "layers"}
    gives_when: ClassVar[tuple[tuple[str, Any, str, str], ...]] = (("layers", 0, "trained", "head"),)

    layers: int = Field(default=2, ge=0)
    """How many layers are trained, from the last one on; 0: the head alone."""
    also: tuple[str, ...] = ()
    """Beginnings of the names of further weights that are trained; found when training starts."""

    def resolve(self, fresh: list[str]) -> Self:
        return self.model_copy(update={"also": tuple(sorted({*self.also, *fresh}))})

    def own(self, trained: Sequence[str], fresh: Collection[str]) -> list[str]:
        """None where the head alone is trained."""
        found = super().own(trained, fresh) if self.layers else []
        return [name for name in found if not name.startswith(self.also)]

    def wrap(self, model: nn.Module) -> nn.Module:
        """`requires_grad` of every weight, set. Raises RecipeError when there are fewer layers than to be trained."""
        found = layers.names(model)
        if self.layers > len(found):
            what = f"{self.layers} layers are to be trained, and the model has {len(found)}: {', '.join(found)}"
            raise RecipeError(what, where="method.last_layers.layers", do=f"layers={max(len(found) - 1, 0)}")
        trained = found[len(found) - self.layers :]
        names = [name for name, _ in model.named_parameters()]
        places = [place for place, name in enumerate(names) if layers.below(name, trained or found)]
        first = min(places) if trained else max(places, default=len(names) - 1) + 1
        for place, (name, weight) in enumerate(model.named_parameters()):
            weight.requires_grad = place >= first or any(name.startswith(beginning) for beginning in self.also)
        return model
