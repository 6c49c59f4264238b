"""Draw the weights of a fresh model by an initialiser, whatever library its layers are from."""

from __future__ import annotations

import math

import torch
from torch import nn

from danlu.contracts import Initialiser
from danlu.core.errors import RecipeError

_RESIDUAL = (
    "attention.output.dense", "output.dense", "attn.c_proj", "mlp.c_proj", "o_proj", "down_proj", "attn.Wo", "mlp.Wo",
    "mlp.fc2", "SelfAttention.o", "EncDecAttention.o", "DenseReluDense.wo", "residual",
)  # fmt: skip
"""How the layers are called whose output is added to what came in, by the families of models."""
_TURNED = "Conv1D"
"""transformers' layer for GPT-2, whose weight is [in, out]."""


def initialise(module: nn.Module, how: Initialiser) -> None:
    """Draw every weight of two or more axes anew, in the order of its name in the module; other weights stay.

    With `how.residual` the layers that add to what came in are drawn 1/√n as wide, n being how many there are: so the
    sum keeps its width (Radford et al., 2019). Raises RecipeError where there is none.
    """
    added = {name for name, _ in module.named_modules() if how.residual and name.endswith(_RESIDUAL)}
    if how.residual and not added:
        what = "it has no layers whose output is added to what came in"
        raise RecipeError(what, where="init.residual", do="init.residual=false")
    with torch.no_grad():
        for name, layer in module.named_modules():
            scale = 1 / math.sqrt(len(added)) if name in added else 1.0
            for _, weight in layer.named_parameters(recurse=False):
                if weight.ndim >= 2:
                    how.fill(weight.T if type(layer).__name__ == _TURNED else weight, scale)
            if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
                layer.weight[layer.padding_idx].zero_()
