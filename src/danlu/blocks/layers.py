"""Where the layers of a model are that follow one another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def below(name: str, modules: Sequence[str]) -> bool:
    """Whether a weight's name lies in one of the modules."""
    return any(not module or name.startswith(f"{module}.") for module in modules)


def names(model: nn.Module) -> list[str]:
    """The names of the modules that follow one another; each holds weights."""
    found: dict[str, list[str]] = {}
    for name, part in model.named_modules():
        if isinstance(part, nn.ModuleList | nn.Sequential) and not below(name, list(found)):
            found[name] = [
                f"{name}.{k}".lstrip(".") for k, layer in part.named_children() if any(True for _ in layer.parameters())
            ]
    longest = max(found.values(), key=len, default=[])
    if len(longest) > 1:
        return longest
    return [name for name, part in model.named_children() if any(True for _ in part.parameters())]
