"""peft: adapters put into a model and merged out of it, in place of its linear layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from peft import IA3Config, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from danlu.blocks.hf import Conv1D


def add_lora(
    model: nn.Module, layers: Sequence[str], *, rank: int, alpha: int, dropout: float, dora: bool = False
) -> None:
    """Put a low-rank adapter on each of the named layers and freeze everything else; changes the model.

    With `dora` each has the length of its layer's columns as a weight besides.
    """
    options: dict[str, Any] = {"r": rank, "lora_alpha": alpha, "lora_dropout": dropout, "bias": "none"}
    config = LoraConfig(
        **options, use_dora=dora, target_modules=_exactly(layers), fan_in_fan_out=_transposed(model, layers)
    )
    inject_adapter_in_model(config, model)


def add_ia3(model: nn.Module, layers: Sequence[str], inputs: Sequence[str]) -> None:
    """Put a factor on each output of the named layers, on each input of those also among `inputs`; freezes the rest."""
    config = IA3Config(
        target_modules=_exactly(layers), feedforward_modules=_exactly(inputs), fan_in_fan_out=_transposed(model, layers)
    )
    inject_adapter_in_model(config, model)


def _exactly(layers: Sequence[str]) -> str:
    return f"({'|'.join(re.escape(name) for name in layers)})" if layers else r"(?!)"


def _transposed(model: nn.Module, layers: Sequence[str]) -> bool:
    return any(isinstance(model.get_submodule(name), Conv1D) for name in layers)


def merge(model: nn.Module) -> None:
    """Add every adapter's product to its layer's weight and take the adapter away; changes the model."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    model.requires_grad_(True)
