"""peft: low-rank adapters put into a model and merged out of it, in place of its linear layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def add_lora(model: nn.Module, layers: Sequence[str], *, rank: int, alpha: int, dropout: float) -> None:
    """Put a low-rank adapter on each of the named layers and freeze everything else; changes the model."""
    exactly = "|".join(re.escape(name) for name in layers)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=f"({exactly})", bias="none")
    inject_adapter_in_model(config, model)


def merge(model: nn.Module) -> None:
    """Add every adapter's product to its layer's weight and take the adapter away; changes the model."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    model.requires_grad_(True)
