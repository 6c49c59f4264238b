"""Weights in groups: which decay, which are matrices between hidden layers, and how high the rate of each is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from danlu.core.errors import RecipeError


class _Kind(NamedTuple):
    """What the weights of a group have in common; `scale` multiplies the learning rate."""

    scale: float
    matrix: bool
    decays: bool


def groups(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    embeddings: Sequence[nn.Module] = (),
) -> list[dict[str, Any]]:
    """The weights as `contracts.Optimizer.build` takes them; each group has `scale` and `decays` for `optim` too.

    Biases, norms and everything of one axis do not decay. With `layer_decay` the rate of a layer is that of the next
    one, towards the head, times it (Howard and Ruder, 2018); `embeddings` are at the bottom. Raises RecipeError where
    a model has no list of layers.
    """
    heights = _from_top(model, embeddings) if layer_decay != 1.0 else {}
    owners = {id(w): part for part in model.modules() for w in part.parameters(recurse=False)}
    head = _head(model)
    found: dict[_Kind, list[nn.Parameter]] = {}
    for name, weight in weights.items():
        owner = owners[id(weight)]
        decays = weight.ndim >= 2 and not _is_bias(name) and not _is_norm(owner)
        matrix = decays and weight.ndim == 2 and not _is_embedding(owner) and weight is not head
        kind = _Kind(layer_decay ** heights.get(id(weight), 0), matrix, decays)
        found.setdefault(kind, []).append(weight)
    return [
        {
            "params": params,
            "lr": lr * kind.scale,
            "scale": kind.scale,
            "matrix": kind.matrix,
            "decays": kind.decays,
            "weight_decay": weight_decay if kind.decays else 0.0,
        }
        for kind, params in found.items()
    ]


def _is_bias(name: str) -> bool:
    return "bias" in name.rpartition(".")[2]


def _is_norm(part: nn.Module) -> bool:
    return "norm" in type(part).__name__.lower()


def _is_embedding(part: nn.Module) -> bool:
    return isinstance(part, nn.Embedding) or "embed" in type(part).__name__.lower()


def _head(model: nn.Module) -> Tensor | None:
    """The weight of the last linear layer; a head tied to an embedding is none of its own."""
    linear = [part.weight for part in model.modules() if isinstance(part, nn.Linear)]
    return linear[-1] if linear else None


def _from_top(model: nn.Module, embeddings: Sequence[nn.Module]) -> dict[int, int]:
    """How many layers a weight, by its id, lies below what follows the last layer; 0 for the head."""
    found = stacks(model)
    if not found:
        what = "layer_decay needs a list of layers, and the model has none"
        raise RecipeError(what, where="layer_decay", do="leave layer_decay out")
    places = {id(w): len(stack) - k for stack in found for k, layer in enumerate(stack) for w in layer.parameters()}
    bottom = max(map(len, found)) + 1
    for weight in model.parameters():
        if id(weight) in places:
            break
        places[id(weight)] = bottom
    return places | {id(w): bottom for part in embeddings for w in part.parameters()}


def stacks(model: nn.Module) -> list[list[nn.Module]]:
    """The model's lists of layers (an encoder and a decoder have one each); blocks in a row where there is no list."""
    return list(_stacks(model, nn.ModuleList)) or list(_stacks(model, nn.Sequential))


def _stacks(part: nn.Module, kind: type[nn.Module]) -> Iterator[list[nn.Module]]:
    """The outermost lists of two and more layers with weights."""
    layers = [child for child in part.children() if next(child.parameters(), None) is not None]
    if isinstance(part, kind) and len(layers) > 1:
        yield layers
        return
    for child in layers:
        yield from _stacks(child, kind)
