"""Answers from ONNX graphs through ONNX Runtime, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime as ort

from danlu.contracts import Arrays, Example
from danlu.core.errors import DataError, RecipeError
from danlu.core.files import safe_join
from danlu.core.machine import cpu_threads

_AGAIN = "export the model again"
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


class OrtForm:
    """The graphs of a folder, one for each set of input names; numpy arrays in and out. Safe to use from many threads.

    `threads` is how many cores one call may use; 0 means all that this process has. Raises DataError when `graphs.json`
    or a graph is missing or broken, when a graph keeps weights outside its file, or when a graph is not listed there.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self._folder = folder
        self._sessions = {frozenset(inputs): _session(path, threads) for path, inputs in graph_files(folder)}

    def forward(self, inputs: Arrays) -> Arrays:
        """Outputs by name. Raises DataError for inputs, or lengths of them, that the export never heard of."""
        session = self._sessions.get(frozenset(inputs))
        if session is None:
            heard = "; ".join(sorted(", ".join(sorted(names)) for names in self._sessions))
            raise DataError(f"no graph takes the inputs {sorted(inputs)}, only {heard}", where=str(self._folder))
        feed = {name: np.asarray(array) for name, array in inputs.items()}
        try:
            outputs = session.run(None, feed)
        except Exception as error:
            raise self._explanation(session, feed, error) from error
        return dict(zip([output.name for output in session.get_outputs()], outputs, strict=True))

    def resume(self, examples: Sequence[Example]) -> None:
        """A graph keeps no memory: what came before is computed again."""

    @property
    def module(self) -> Any:
        """There is none: raises RecipeError."""
        raise RecipeError(
            "a model in ONNX has no gradients and no torch module",
            where=str(self._folder),
            do="ask the form `trained`, which every model keeps",
        )

    def _explanation(self, session: ort.InferenceSession, feed: Arrays, error: Exception) -> DataError:
        for wanted in session.get_inputs():
            shape = feed[wanted.name].shape
            if len(shape) != len(wanted.shape) or any(
                isinstance(want, int) and want != length for want, length in zip(wanted.shape, shape, strict=True)
            ):
                return DataError(
                    f"the input {wanted.name} has the shape {list(shape)}, the graph takes {wanted.shape}",
                    where=str(self._folder),
                    do="export it with a sample in which this length varies",
                )
        return DataError(f"ONNX Runtime could not answer: {error}", where=str(self._folder))


def graph_files(folder: Path) -> list[tuple[Path, list[str]]]:
    """The graphs in a folder and the names of their inputs, as `graphs.json` lists them; raises DataError."""
    index = folder / "graphs.json"
    try:
        graphs = json.loads(index.read_text(encoding="utf-8"))["graphs"]
        listed = [(safe_join(folder, graph["file"]), list(graph["inputs"])) for graph in graphs]
    except FileNotFoundError as error:
        raise DataError("there is no ONNX model here: graphs.json is missing", where=str(folder), do=_AGAIN) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"it is not a list of graphs: {error!r}", where=str(index), do=_AGAIN) from error
    stray = {path.resolve() for path in folder.glob("*.onnx*")} - {path for path, _ in listed}
    if stray:
        names = ", ".join(sorted(path.name for path in stray))
        raise DataError(f"graphs.json does not name {names}", where=str(folder), do=f"remove it, or {_AGAIN}")
    if not listed:
        raise DataError("it names no graph", where=str(index), do=_AGAIN)
    return listed


def read_graph(path: Path) -> onnx.ModelProto:
    """A graph whose weights all lie in its own file; raises DataError."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise DataError(f"it is not an ONNX graph: {error}", where=str(path), do=_AGAIN) from error
    tensors = [*model.graph.initializer, *(t for tree in _nodes(model) for t in _tensors(tree))]
    outside = next((t.name for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL), None)
    if outside is not None:
        raise DataError(f"its weight {outside} lies in another file, which is never read", where=str(path), do=_AGAIN)
    return model


def check_numbers(path: Path) -> None:
    """Raise DataError when a weight of a graph holds what is not a number."""
    model = read_graph(path)
    for tensor in (*model.graph.initializer, *(t for tree in _nodes(model) for t in _tensors(tree))):
        array = onnx.numpy_helper.to_array(tensor) if tensor.data_type in _FLOATS else np.zeros(0)
        if np.isnan(array).any():
            raise DataError(f"its weight {tensor.name} has values that are not numbers", where=str(path), do=_AGAIN)


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [*model.graph.node, *(node for function in model.functions for node in function.node)]


def _tensors(node: onnx.NodeProto) -> list[onnx.TensorProto]:
    """The tensors among a node's attributes, also those of the graphs inside it."""
    found: list[onnx.TensorProto] = []
    for attribute in node.attribute:
        found += [attribute.t, *attribute.tensors]
        for graph in (attribute.g, *attribute.graphs):
            found += [*graph.initializer, *(tensor for inner in graph.node for tensor in _tensors(inner))]
    return found


def _session(path: Path, threads: int) -> ort.InferenceSession:
    read_graph(path)  # refuses weights in other files before the runtime could open one
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cpu_threads()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # its errors come as exceptions, and are not printed as well
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(f"ONNX Runtime refuses this graph: {error}", where=str(path), do=_AGAIN) from error
