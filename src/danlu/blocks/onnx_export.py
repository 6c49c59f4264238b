"""From a torch module to ONNX graphs, by torch's own exporter.

The bytes depend on the weights and on torch's version alone: what names the machine or the order of calls is removed.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from danlu.contracts import Arrays
from danlu.core.errors import RecipeError

_LARGEST = 2**31 - 2**24  # protobuf's limit, less room for the graph itself
_INSTEAD = "leave the runtime `onnx` out: the form `trained` answers without it"


def export(module: nn.Module, calls: Sequence[Arrays], folder: Path) -> None:
    """Write `model.onnx`, `model1.onnx`, … and `graphs.json`: one graph for each set of input names among `calls`.

    The batch axis is dynamic; another axis is if its length varied among the calls. Outputs keep their names. `module`
    is in eval mode afterwards. Raises RecipeError when torch cannot export it, or when it is larger than 2 GB.
    """
    if sum(tensor.nbytes for tensor in {*module.parameters(), *module.buffers()}) >= _LARGEST:
        raise RecipeError("an ONNX file holds at most 2 GB, and this model is larger", do=_INSTEAD)
    graphs = []
    for k, heard in enumerate(_by_names(calls)):
        file = f"model{k or ''}.onnx"
        model = _graph(module, heard)
        (folder / file).write_bytes(model.SerializeToString(deterministic=True))
        names = [output.name for output in model.graph.output]
        graphs.append({"file": file, "inputs": sorted(heard[0]), "outputs": names})
    (folder / "graphs.json").write_text(json.dumps({"format": 1, "graphs": graphs}, indent=1) + "\n", encoding="utf-8")


def _by_names(calls: Sequence[Arrays]) -> list[list[Arrays]]:
    """The calls by their set of input names, the sets in a fixed order."""
    groups: dict[tuple[str, ...], list[Arrays]] = {}
    for call in calls:
        groups.setdefault(tuple(sorted(call)), []).append(call)
    return [groups[names] for names in sorted(groups)]


def _graph(module: nn.Module, heard: Sequence[Arrays]) -> onnx.ModelProto:
    dynamic = _dynamic_axes(heard)
    example = _example(heard, dynamic)
    with torch.no_grad():
        outputs = module.eval()(**example)
    names = [name for name, value in outputs.items() if isinstance(value, Tensor)]
    flat = _Flat(module, tuple(example), names).eval()
    _forget_recurrent_kernels()
    try:
        with _silence(), torch.no_grad():
            program = torch.onnx.export(
                flat,
                tuple(example.values()),
                input_names=list(example),
                output_names=names,
                dynamic_shapes={"arrays": tuple(dynamic.values())},
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise RecipeError(f"torch cannot export this model to ONNX: {_reason(error)}", do=_INSTEAD) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _tidy(model)
    onnx.checker.check_model(model)
    return model


def _forget_recurrent_kernels() -> None:
    """Let torch look up anew how it runs recurrent layers.

    Its exporter registers kernels with an open length for the time of an export, but torch 2.13 goes on calling the one
    it found first: the second export of a GRU in one process would freeze the length heard.
    """
    for layer in (torch.ops.aten.gru.input, torch.ops.aten.lstm.input):
        layer._dispatch_cache.clear()


class _Flat(nn.Module):
    """The module with its named arrays in a fixed order, which is how the exporter wants them."""

    def __init__(self, module: nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.module, self.inputs, self.outputs = module, inputs, outputs

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        answer = self.module(**dict(zip(self.inputs, arrays, strict=True)))
        return tuple(answer[name] for name in self.outputs)


def _dynamic_axes(heard: Sequence[Arrays]) -> dict[str, dict[int, str]]:
    """Input name → axis → the axis' name, for the batch axis and for every axis whose length varied."""
    axes: dict[str, dict[int, str]] = {}
    for name in sorted(heard[0]):
        shapes = [call[name].shape for call in heard]
        varied = [axis for axis in range(1, len(shapes[0])) if len({shape[axis] for shape in shapes}) > 1]
        axes[name] = {0: "batch", **{axis: f"{name}_{axis}" for axis in varied}}
    return axes


def _example(heard: Sequence[Arrays], dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, Tensor]:
    """The heard call whose dynamic axes are longest: the exporter takes a length of 0 or 1 for a constant.

    Its number of rows is made to differ from every other length, so that no two axes are taken for one.
    """

    def lengths(call: Arrays) -> list[int]:
        return [call[name].shape[axis] for name, axes in dynamic.items() for axis in axes if axis]

    chosen = max(heard, key=lambda call: (min(lengths(call), default=0), sum(lengths(call))))
    others = {length for name in dynamic for length in chosen[name].shape[1:]}
    rows = next(n for n in range(2, len(others) + 3) if n not in others)
    example = {}
    for name in dynamic:
        array = torch.tensor(chosen[name])  # a copy: arrays heard in inference mode break the export
        example[name] = array[torch.arange(rows) % len(array)]
    return example


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's advice to its own developers off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """The line of the exporter's report that says what was wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


def _tidy(model: onnx.ModelProto) -> None:
    """Remove stack traces, paths and inferred shapes; the last of these are stale and mislead quantizers."""
    graph = model.graph
    graph.ClearField("value_info")
    parts: list[Any] = [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output]
    for part in [*parts, *model.functions, *(node for function in model.functions for node in function.node)]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
