"""PyTorch itself: the model's parts are put together again and filled with its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Arrays, Runtime
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import nn

    from danlu.contracts import Backbone


class Torch(Runtime):
    """The form a model is trained in, and the only one that gives gradients. Uses a GPU where there is one."""

    tolerance: ClassVar[float] = 0.0

    def export(self, module: nn.Module, calls: list[Arrays], folder: Path) -> None:
        raise RecipeError("a torch form is not exported: it is the trained model itself")

    def load(self, folder: Path, torch_module: Callable[[], tuple[nn.Module, Backbone]]) -> TorchForm:
        module, backbone = torch_module()
        return TorchForm(module, backbone, "cuda" if torch.cuda.is_available() else "cpu")
