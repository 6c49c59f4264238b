"""BitFit (Ben Zaken et al., 2022): the biases are trained, the matrices stay."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from danlu.blocks.adapting import Partial
from danlu.core.errors import RecipeError


class BitFit(Partial):
    """Trains the biases, a thousandth of an encoder's weights, and adds nothing: a step's answer costs what it did.

    For models with biases, such as BERT's kind; a llama has none.
    """

    lr: ClassVar[float] = 1e-3

    def open_up(self, model: nn.Module) -> None:
        found = [weight for name, weight in model.named_parameters() if name.endswith("bias") and name not in self.also]
        if not found:
            what = "the model has no bias besides those that are trained whole, so there is nothing to choose"
            raise RecipeError(what, where="method.bitfit", do="method=lora")
        for weight in found:
            weight.requires_grad = True
