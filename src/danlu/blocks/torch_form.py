"""A torch module as a form: named numpy arrays in, named numpy arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from danlu.blocks.tensors import evaluating, tensor, to_numpy
from danlu.contracts import Arrays, Example

if TYPE_CHECKING:
    from danlu.contracts import Backbone


class TorchForm:
    """Asks a module in eval mode and without gradients; the module is left in the mode it was in.

    Several threads may ask at once where the module is in eval mode already, as a loaded one is.

    `autocast` names a lower precision (`bfloat16`); outputs are float32 all the same. With a `backbone`, examples that
    continue a talk go through its `resume`.
    """

    def __init__(
        self, module: nn.Module, backbone: Backbone | None = None, device: str = "cpu", autocast: str | None = None
    ) -> None:
        self._module, self._backbone, self.device = module.to(device), backbone, device
        self._precision = getattr(torch, autocast) if autocast else torch.float32

    @property
    def module(self) -> nn.Module:
        return self._module

    @property
    def backbone(self) -> Backbone | None:
        """What built the module, where it was told."""
        return self._backbone

    def forward(self, inputs: Arrays) -> dict[str, Any]:
        tensors = {name: tensor(array, self.device) for name, array in inputs.items()}
        with evaluating(self._module), torch.inference_mode(), self._lower():
            return to_numpy(self._module(**tensors))

    def resume(self, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
        if self._backbone is None:
            return None
        with evaluating(self._module), torch.inference_mode(), self._lower():
            return self._backbone.resume(self._module, examples)

    def _lower(self) -> torch.autocast:
        return torch.autocast(self.device, self._precision, enabled=self._precision != torch.float32)
