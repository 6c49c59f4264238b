"""Low-rank adaptation (Hu et al., 2021): the weights stay, a product of two thin matrices is learnt beside them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import nn
from torch.func import functional_call

from danlu.blocks import peft
from danlu.blocks.tensors import evaluating, state
from danlu.contracts import Arrays, Method
from danlu.core.errors import RecipeError


class LoRA(Method):
    """Trains one or two percent of the weights: less memory, and many adapters share one base on the disk.

    Weights that are still random when training starts, such as the task's head, are trained whole.
    """

    tolerance: ClassVar[float] = 1e-4
    lr: ClassVar[float] = 1e-3
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",)}

    rank: int = Field(default=8, ge=1)
    """Width of the two matrices."""
    alpha: int = Field(default=16, ge=1)
    """The product is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of an adapter's inputs left out in training."""
    targets: tuple[str, ...] | None = None
    """Ends of the names of the linear layers to adapt, such as `query`; by default all but those trained whole."""
    also: tuple[str, ...] = ()
    """Names of weights that are trained whole; found when training starts."""

    def resolve(self, fresh: list[str]) -> Self:
        return self.model_copy(update={"also": tuple(sorted({*self.also, *fresh}))})

    def wrap(self, model: nn.Module) -> nn.Module:
        peft.add_lora(model, self._layers(model), rank=self.rank, alpha=self.alpha, dropout=self.dropout)
        for name, weight in model.named_parameters():
            if name in self.also:
                weight.requires_grad = True
        return model

    def _layers(self, model: nn.Module) -> list[str]:
        linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
        trained = {name.rpartition(".")[0] for name in self.also}
        free = [name for name in linear if name not in trained]
        if not free:
            what = "there is nothing to adapt: the model has no linear layer whose weights were trained before"
            raise RecipeError(what, where="method.lora", do="method=full")
        for target in self.targets or ():
            if not any(_ends(name, target) for name in free):
                kinds = ", ".join(sorted({name.rpartition(".")[2] for name in free}))
                what = f"the target {target!r} is no linear layer of this model; there are: {kinds}"
                raise RecipeError(what, where="method.lora.targets", do=f"method.lora.targets=[{free[0]}]")
        return [name for name in free if self.targets is None or any(_ends(name, target) for target in self.targets)]

    def merge(self, model: nn.Module) -> nn.Module:
        """A copy of the model with the products added to the weights."""
        merged = copy.deepcopy(model)
        peft.merge(merged)
        return merged

    def without(self, model: nn.Module) -> Callable[..., Arrays]:
        """The model as it is now, without its adapters, in eval mode. Keeps copies of the few weights that move.

        An adapter is taken out by a zero in place of its second matrix: that adds exactly nothing, and no switch of the
        trained model is touched.
        """
        moving = {n: t for n, t in state(model).items() if t.requires_grad or not isinstance(t, nn.Parameter)}
        frozen = {name: tensor.detach().clone() for name, tensor in moving.items()}
        frozen |= {name: torch.zeros_like(tensor) for name, tensor in frozen.items() if ".lora_B." in name}

        def ask(**inputs: Any) -> Arrays:
            with evaluating(model), torch.no_grad():
                outputs: Arrays = functional_call(model, frozen, kwargs=inputs)
            return outputs

        return ask


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
