"""ONNX graphs, answered by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt

from danlu.blocks.ort import OrtForm
from danlu.contracts import Arrays, Backbone, Form, Runtime
from danlu.core.plugin import lazy

if TYPE_CHECKING:
    from torch import nn

onnx_export = lazy("danlu.blocks.onnx_export")


class Onnx(Runtime):
    """Serve a model without torch: it loads in a fraction of the time, and needs less memory.

    One graph is written for each set of input names heard, weights inside (at most 2 GB). An axis is dynamic if its
    length varied among the calls, the batch axis always. The same weights and the same torch give the same bytes.
    Answers lie within 1e-4 of the trained model's. It has no gradients: what wants them asks the form `trained`.
    """

    threads: NonNegativeInt = 0
    """Cores that one call may use; 0: all that the process has."""

    def export(self, module: nn.Module, calls: list[Arrays], folder: Path) -> None:
        """Write `model.onnx` … and `graphs.json`; raises RecipeError when torch cannot export the module."""
        onnx_export.export(module, calls, folder)

    def load(self, folder: Path, torch_module: Callable[[], tuple[nn.Module, Backbone]]) -> Form:
        """The graphs in a folder; never asks for the torch module."""
        return OrtForm(folder, self.threads)
