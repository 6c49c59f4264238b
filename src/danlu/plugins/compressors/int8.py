"""Weights in eight bits instead of thirty-two."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from danlu.blocks import onnx_int8
from danlu.blocks.ort import graph_files, read_graph
from danlu.contracts import Arrays, Compressor
from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

if TYPE_CHECKING:
    from torch import nn

int8 = lazy("danlu.blocks.int8")


class Int8(Compressor):
    """A quarter of the size; from an ONNX form also about half the time per answer of fp32 on a CPU with VNNI.

    On an ONNX form, matrix products run on integers: weights with a scale per output, activations with a scale per row
    (per token), found as they come, so an answer does not depend on its batch mates. Weights are rounded to suit what
    the model is asked for validation rows (GPTQ), and large activations are evened out (SmoothQuant). Tables of
    embeddings have a scale per 64 numbers. Weights of convolutions are only stored in eight bits.

    On a torch module, weights are stored in eight bits and multiplied in floating point: size is won, not time.
    """

    tolerance: ClassVar[float] = 0.1

    smallest: PositiveInt = 1024
    """Weights with fewer numbers than this stay as they are: they weigh little, and the last layer is often one."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module with unfilled int8 layers, in place."""
        int8.replace(model, self.smallest)
        return model

    def compress(self, model: nn.Module, batches: Iterable[Arrays]) -> nn.Module:
        """The module with int8 layers, in place; raises RecipeError when it has no layer to change."""
        if not int8.compress(model, self.smallest):
            raise self._nothing("linear layer, embedding or convolution")
        return model

    def compress_form(self, folder: Path, calls: list[Arrays], out: Path) -> None:
        """The graphs of `folder` with int8 weights, in `out`; raises RecipeError when there is no weight to change."""
        changed = []
        for path, _ in graph_files(folder):
            model = read_graph(path)
            changed += onnx_int8.quantize(model, self.smallest, calls)
            (out / path.name).write_bytes(model.SerializeToString(deterministic=True))
        if not changed:
            raise self._nothing("weight of MatMul, Gemm, Gather or Conv")
        shutil.copyfile(folder / "graphs.json", out / "graphs.json")

    def _nothing(self, what: str) -> RecipeError:
        return RecipeError(
            f"int8 would change nothing: the model has no {what} of {self.smallest} numbers or more",
            do="leave int8 out of the step, or lower its option `smallest`",
        )
