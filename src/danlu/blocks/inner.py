"""What the layers of a transformer give on the way to its answer: hidden states and maps of attention.

Heard only while somebody listens. A model nobody listens to computes and exports what it ever did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from danlu.blocks.tensors import evaluating
from danlu.contracts import Arrays
from danlu.core.errors import RecipeError

KINDS = ("hidden", "attention")
MASK = "real"
"""The output of an `Asked` that says which tokens are no padding."""
_ATTENTION = "danlu"


def name(kind: str, layer: int) -> str:
    """The name of what a layer gives; layers count from 1, `hidden` 0 is what goes into the first."""
    return f"{kind}.{layer}"


@dataclass(frozen=True)
class Ear:
    """The mark `heard` on every module of a model that is listened to; `layer` is 0 outside the layers."""

    layers: Layers
    layer: int

    def awake(self, module: nn.Module) -> bool:
        """Whether this pass is listened to; then no layer may leave out what the answer alone would not need."""
        return self.layers.always or module.training

    def attends(self, module: nn.Module) -> bool:
        return self.awake(module) and name("attention", self.layer) in self.layers.wanted

    def hear(self, weights: Tensor) -> None:
        """A layer's map of attention [n, heads, queries, keys], before dropout."""
        self.layers.note(name("attention", self.layer), weights)


def ear(module: nn.Module) -> Ear | None:
    """The mark on a module, where somebody listens."""
    found: Ear | None = module.__dict__.get("heard")
    return found


class Layers:
    """The layers of a model, and `found`: what those that are `wanted` gave in the latest pass.

    `hidden` [n, length, width] is what a layer hands to the next one, `attention` [n, heads, length, length] how its
    tokens look at each other. In training mode alone, unless `always`. Raises RecipeError for a model without layers.
    """

    def __init__(self, model: nn.Module, whose: str, *, always: bool = False) -> None:
        self.model, self.always, self._whose = model, always, whose
        config: Any = getattr(model, "config", None)
        self.width, self.depth, self.heads = (
            int(getattr(config, option, None) or 0)
            for option in ("hidden_size", "num_hidden_layers", "num_attention_heads")
        )
        lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == self.depth]
        self._list: list[nn.Module] = list(lists[0]) if lists and self.width else []
        ours = getattr(config, "_attn_implementation", None) == _ATTENTION
        self.gives = KINDS[: bool(self._list) + (bool(self._list) and ours)]
        self.wanted: frozenset[str] = frozenset()
        self.found: dict[str, Tensor] = {}
        self._passing = False
        self._handles: list[RemovableHandle] = []

    def check(self, kinds: Sequence[str]) -> None:
        """Raise RecipeError unless the model gives features of these kinds."""
        lacking = [kind for kind in kinds if kind not in self.gives]
        if lacking:
            raise _gives_none(self._whose, lacking[0], self.gives)

    def listen(self, wanted: Sequence[str]) -> None:
        """Hear these names from now on. Raises RecipeError for a layer that there is not."""
        for one in wanted:
            kind, _, layer = one.partition(".")
            self.check([kind])
            if not (kind == "attention") <= int(layer) <= self.depth:
                what = f"{self._whose} has no layer {layer} that gives {kind}: it has the layers 1 to {self.depth}"
                raise RecipeError(what, where="techniques.distill.layers", do="name layers that are there, or uniform")
        self.wanted = frozenset(wanted)
        for part in self.model.modules():
            part.__dict__["heard"] = Ear(self, 0)
        for place, layer_ in enumerate(self._list, 1):
            for part in layer_.modules():
                part.__dict__["heard"] = Ear(self, place)
            self._handles.append(layer_.register_forward_hook(_hidden(self, place)))
        self._handles += [
            self._list[0].register_forward_pre_hook(self._first, with_kwargs=True),
            self.model.register_forward_pre_hook(self._begin, with_kwargs=True),
            self.model.register_forward_hook(self._end),
        ]

    def close(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        for part in self.model.modules():
            part.__dict__.pop("heard", None)
        self._handles, self.found = [], {}

    def note(self, called: str, tensor: Tensor) -> None:
        """Keep what is wanted; layers that compute again in the backward pass are not in a pass."""
        if self._passing and called in self.wanted:
            self.found[called] = tensor

    def _begin(self, model: nn.Module, args: Any, named: Any) -> None:
        self.found, self._passing = {}, self.always or model.training

    def _end(self, *_: Any) -> None:
        self._passing = False

    def _first(self, _: nn.Module, args: Any, named: Any) -> None:
        self.note(name("hidden", 0), args[0] if args else named["hidden_states"])


def _hidden(layers: Layers, place: int) -> Callable[..., None]:
    def hear(_: nn.Module, __: Any, output: Any) -> None:
        layers.note(name("hidden", place), output if isinstance(output, Tensor) else output[0])

    return hear


class Asked:
    """A model beside the trained one whose outputs hold what its layers gave, and the mask of its tokens."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers

    def __call__(self, **inputs: Tensor) -> Arrays:
        model, there = self.layers.model, next(iter(inputs.values())).device
        here = next(model.parameters()).device
        with evaluating(model), torch.no_grad(), torch.autocast(here.type, enabled=False):
            said = model(**{key: value.to(here) for key, value in inputs.items()})
        found = {key: value for key, value in said.items() if isinstance(value, Tensor)} | self.layers.found
        if "attention_mask" in inputs:
            found[MASK] = inputs["attention_mask"]
        return {key: value.to(there) for key, value in found.items()}


def beside(model: Any, whose: str, kinds: Sequence[str]) -> Asked:
    """A model beside as one whose layers can be heard. Raises RecipeError for one that gives no such features.

    It is a module, or has one as its attribute `module`, or answers alone.
    """
    module = model if isinstance(model, nn.Module) else getattr(model, "module", None)
    if not isinstance(module, nn.Module):
        raise _gives_none(whose, kinds[0], ())
    layers = Layers(module, whose, always=True)
    layers.check(kinds)
    return Asked(layers)


def _gives_none(whose: str, kind: str, gives: Sequence[str]) -> RecipeError:
    what = f"{whose} gives no {kind}, it gives {' and '.join(('logits', *gives))}"
    do = "a transformer such as bert, roberta or pretrained as both, or leave it out of `features`"
    return RecipeError(what, where="techniques.distill.features", do=do)


# ---- how far two models' features lie apart --------------------------------------------------------------------------


def uniform(ours: int, theirs: int) -> list[tuple[int, int]]:
    """Each of our layers with the one of theirs at the same height (TinyBERT: Jiao et al., 2020)."""
    return [(layer, max(1, (layer * theirs + ours // 2) // ours)) for layer in range(1, ours + 1)]


def hidden_apart(said: Tensor, wanted: Tensor, real: Tensor | None) -> Tensor:
    """The mean square of what lies between hidden states [n, length, width], over the tokens that are real: [n]"""
    return _mean((said.float() - wanted.float()).square().mean(-1), real)


def attention_apart(said: Tensor, wanted: Tensor, real: Tensor | None, *, by: str) -> Tensor:
    """How differently real tokens look around, on average over tokens and heads: [n]

    `by` is `kl`, the Kullback-Leibler divergence KL(wanted ‖ said) (MiniLM: Wang et al., 2020), or `mse`, the squared
    distance. Maps are [n, heads, queries, keys]; of other numbers of heads their means are compared.
    """
    said, wanted = said.float(), wanted.float()
    if said.shape[1] != wanted.shape[1]:
        said, wanted = said.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
    if by == "kl":
        least = torch.finfo(torch.float32).tiny
        each = wanted * (wanted.clamp(min=least).log() - said.clamp(min=least).log())
    else:
        each = (said - wanted).square()
    return _mean(each.sum(-1).mean(1), real)


def _mean(each: Tensor, real: Tensor | None) -> Tensor:
    """The mean of [n, length] over what is real."""
    if real is None:
        return each.mean(1)
    shown = (real > 0).to(each.dtype)
    return (each * shown).sum(1) / shown.sum(1).clamp(min=1)


class Projections(nn.Module):
    """A linear map for each pair of layers, from one width to another; its weights are drawn from `seed`."""

    def __init__(self, pairs: int, width: int, wanted: int, seed: int) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(width, wanted, generator=chance) / width**0.5 for _ in range(pairs)]
        self.weights = nn.ParameterList(drawn)
        self.biases = nn.ParameterList([torch.zeros(wanted) for _ in range(pairs)])

    def forward(self, hidden: Tensor, place: int) -> Tensor:
        mapped: Tensor = hidden.float() @ self.weights[place].float() + self.biases[place].float()
        return mapped
