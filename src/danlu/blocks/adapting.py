"""What the methods share that put small parts of their own beside the layers of a model and freeze the rest."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import nn
from torch.func import functional_call

from danlu.blocks import frozen_int8, peft
from danlu.blocks.hf import LINEAR
from danlu.blocks.tensors import evaluating, state
from danlu.contracts import Arrays, Beginning, Method
from danlu.core.errors import RecipeError


class Partial(Method):
    """Trains what it adds or chooses, and whole what is still random when training starts, such as the task's head.

    Derive from it and write `open_up`.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",)}

    also: tuple[str, ...] = ()
    """Names of weights that are trained whole; found when training starts."""

    def resolve(self, fresh: list[str]) -> Self:
        return self.model_copy(update={"also": tuple(sorted({*self.also, *fresh}))})

    def wrap(self, model: nn.Module) -> nn.Module:
        model.requires_grad_(False)
        self.open_up(model)
        for name, weight in model.named_parameters():
            if name in self.also:
                weight.requires_grad = True
        return model

    def own(self, trained: Sequence[str], fresh: Collection[str]) -> list[str]:
        return [name for name in trained if name not in self.also and name not in fresh]

    @abstractmethod
    def open_up(self, model: nn.Module) -> None:
        """Add parts to a frozen model, or choose weights of it, and let them require gradients."""


class Adapting(Partial):
    """Puts parts beside linear layers. Derive from it and write `put`; name what of a part adds nothing when zero."""

    silent: ClassVar[str] = ""
    """In the names of the weights of a part that adds nothing while they are zero; empty: the caller keeps a copy."""

    targets: tuple[str, ...] | None = None
    """Ends of the names of the linear layers to adapt, such as `query`; by default all but those trained whole."""

    def open_up(self, model: nn.Module) -> None:
        self.put(model, self.layers(model))

    def own(self, trained: Sequence[str], fresh: Collection[str]) -> list[str]:
        """The `silent` ones, where there are any: the first to move, and while they are zero nothing else counts."""
        found = super().own(trained, fresh)
        return [name for name in found if self.silent and self.silent in name] or found

    @abstractmethod
    def put(self, model: nn.Module, layers: list[str]) -> None:
        """Adapt the layers of these names."""

    def layers(self, model: nn.Module, usual: tuple[str, ...] = ()) -> list[str]:
        """The names of the linear layers to adapt: the `targets`, else those that end in a `usual` name, else all.

        The table that a language model writes by is none of them: its product is left to the loss, in chunks.
        Raises RecipeError where there is none, naming those there are.
        """
        trained = {name.rpartition(".")[0] for name in self.also}
        table = _table(model)
        free = [
            n for n, part in model.named_modules()
            if isinstance(part, LINEAR) and n not in trained and part is not table
        ]  # fmt: skip
        if not free:
            what = "there is nothing to adapt: the model has no linear layer whose weights were trained before"
            raise RecipeError(what, where=f"method.{self.name}", do="method=full")
        for target in self.targets or ():
            if not any(ends(name, target) for name in free):
                kinds = ", ".join(sorted({name.rpartition(".")[2] for name in free}))
                what = f"the target {target!r} is no linear layer of this model; there are: {kinds}"
                raise RecipeError(
                    what, where=f"method.{self.name}.targets", do=f"method.{self.name}.targets=[{free[0]}]"
                )
        chosen = self.targets or usual
        return [name for name in free if any(ends(name, end) for end in chosen)] or free

    def without(self, model: nn.Module) -> Callable[..., Arrays] | None:
        """The model as it is now, without its parts, in eval mode. Keeps copies of the few weights that move.

        A part is taken out by zeros in place of its `silent` weights: that adds exactly nothing, and no switch of the
        trained model is touched.
        """
        if not self.silent:
            return None
        moving = {n: t for n, t in state(model).items() if t.requires_grad or not isinstance(t, nn.Parameter)}
        frozen = {name: tensor.detach().clone() for name, tensor in moving.items()}
        frozen |= {name: torch.zeros_like(tensor) for name, tensor in frozen.items() if self.silent in name}

        def ask(**inputs: Any) -> Arrays:
            with evaluating(model), torch.no_grad():
                outputs: Arrays = functional_call(model, frozen, kwargs=inputs)
            return outputs

        return ask


class Merging(Adapting):
    """Parts of peft's kinds, which can be multiplied into the weights beside which they stand."""

    tolerance: ClassVar[float] = 1e-4

    def merge(self, model: nn.Module) -> nn.Module:
        """A copy of the model with the parts in its weights."""
        merged = copy.deepcopy(model)
        peft.merge(merged)
        return merged


class LowRank(Merging):
    """Two thin matrices beside a weight, whose product is added to it."""

    whole_with: ClassVar[tuple[str, ...]] = ("quantized",)

    rank: int = Field(default=8, ge=1)
    """Width of the two matrices."""
    alpha: int = Field(default=16, ge=1)
    """The product is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of an adapter's inputs left out in training."""
    quantized: Literal["int8"] | None = None
    """Hold the frozen linear layers in eight bits while the adapters train: at most a quarter of their memory. The
    model that is saved has them whole again."""

    def begin(self, model: nn.Module, given: Beginning) -> None:
        """Hold what is frozen in eight bits, if wanted. Raises RecipeError where there is nothing to hold."""
        if self.quantized and not frozen_int8.hold(model):
            what = (
                "quantized would hold nothing in eight bits: the model has no frozen linear layer of torch's own kind"
            )
            raise RecipeError(what, where=f"method.{self.name}.quantized", do=f"method.{self.name}.quantized=null")

    def restore(self, model: nn.Module, again: Callable[[], nn.Module]) -> None:
        if self.quantized:
            frozen_int8.give_back(model, again())


def _table(model: nn.Module) -> nn.Module | None:
    """The layer that a language model says its words with; None for another kind of model."""
    found: Any = getattr(model, "get_output_embeddings", lambda: None)()
    return found if isinstance(found, nn.Module) else None


def ends(name: str, target: str) -> bool:
    """Whether a module's name ends in a target, at a dot."""
    return name == target or name.endswith(f".{target}")
