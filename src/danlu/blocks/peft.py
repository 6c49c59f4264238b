"""peft: adapters put into a model and merged out of it, in place of its linear layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from peft import IA3Config, LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from danlu.blocks.frozen_int8 import FrozenInt8
from danlu.blocks.hf import Conv1D
from danlu.blocks.lora_pass import Frozen, adapted, cut
from danlu.blocks.tensors import width


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
    for layer in model.modules():
        part: Any = layer
        if type(layer) is LoraLinear and not dora and type(part.get_base_layer()) is nn.Linear:
            part.__class__, part.frozen = _Lean, Frozen()


class _Lean(LoraLinear):
    """peft's layer, whose pass while training is one operation; answering, it is peft's."""

    frozen: Frozen

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        layer: Any = self
        base, [place, *more] = layer.get_base_layer(), layer.active_adapters
        plain = self.training and not (args or options or more or layer.disable_adapters or layer.merged)
        drops = not isinstance(layer.lora_dropout[place], nn.Identity)
        held = isinstance(base, FrozenInt8)
        if not plain or drops or (not held and (base.weight.requires_grad or cut(base.weight))):
            whole: Tensor = super().forward(x, *args, **options)
            return whole
        down, up, scale = layer.lora_A[place].weight, layer.lora_B[place].weight, layer.scaling[place]
        if held:
            return adapted(x, base.codes, base.bias, down, up, scale, base.steps)
        return adapted(x, self.frozen.narrow(base.weight, width(x)), base.bias, down, up, scale)


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
