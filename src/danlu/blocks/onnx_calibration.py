"""What a graph's weights are multiplied with, and how to round them so that the products change least.

Both methods only choose the stored numbers: the graph that answers is as fast with them as without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from danlu.contracts import Arrays

Array: TypeAlias = np.ndarray[Any, Any]

MOST_ROWS = 4096
"""Rows kept of each tensor; more than a few thousand change nothing (measured with 1,800 and 4,576 on minilm)."""

_TOGETHER = 8
_DAMPING = 0.02
_BLOCK = 128


def heard(model: onnx.ModelProto, names: Sequence[str], calls: Sequence[Arrays]) -> Iterator[tuple[str, Array]]:
    """The rows [rows, width] that tensors of a graph hold during some calls, each with its name, a few at a time.

    A tensor that no call reaches is left out.
    """
    for begin in range(0, len(names), _TOGETHER):
        part = list(names[begin : begin + _TOGETHER])
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        there = {output.name for output in model.graph.output}
        watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in part if name not in there)
        session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
        inputs = {value.name for value in session.get_inputs()}
        rows: dict[str, list[Array]] = {name: [] for name in part}
        for call in calls:
            if inputs == set(call):
                for name, value in zip(part, session.run(part, dict(call)), strict=True):
                    rows[name].append(value.reshape(-1, value.shape[-1]))
        yield from ((name, _thinned(np.concatenate(found))) for name, found in rows.items() if found)


def _thinned(rows: Array) -> Array:
    return rows[:: -(-len(rows) // MOST_ROWS)]


def smoothing(rows: Array, weights: Sequence[Array]) -> Array:
    """A factor per input [width]: rows / factors and weights · factors are both easier to store in eight bits.

    `weights` are all those [width, outputs] that the rows are multiplied with. Some inputs of a language model are far
    larger than the others and take all the steps of their row; half of that is moved into the weights. (Xiao et al.
    2022, "SmoothQuant", with α = 0.5 and the 99th percentile for the maximum.)
    """
    large = np.maximum(np.quantile(np.abs(rows), 0.99, axis=0), 1e-6)
    factors = np.sqrt(large / np.maximum(np.max([np.abs(w).max(axis=1) for w in weights], axis=0), 1e-6))
    evened: Array = np.clip(factors / np.exp(np.log(factors).mean()), 1e-2, 1e2).astype(np.float32)
    return evened


def rounded(weight: Array, steps: Array, rows: Array) -> Array:
    """The integers int8 [inputs, outputs] for a weight counted in `steps` [outputs], one input after the other.

    What rounding one input's weights changes in the products with `rows` [rows, inputs] is made good by those of the
    inputs that are still to come. (Frantar et al. 2022, "GPTQ".) No two neighbours of one sign exceed 127 together, see
    `onnx_int8.column_steps`.
    """
    left, rows = weight.astype(np.float64), rows.astype(np.float64)
    likeness = rows.T @ rows
    likeness[np.diag_indices_from(likeness)] += _DAMPING * np.mean(np.diag(likeness)) + 1e-9
    passed_on = np.linalg.cholesky(np.linalg.inv(likeness)).T
    integers = np.zeros((len(left) + 1, left.shape[1]))  # the last is the one before the first
    for begin in range(0, len(left), _BLOCK):
        end = min(begin + _BLOCK, len(left))
        errors = np.zeros((end - begin, left.shape[1]))
        for k in range(begin, end):
            before = integers[k - 1]
            most, least = 127 - np.maximum(before, 0), -127 - np.minimum(before, 0)
            integers[k] = np.clip(np.round(left[k] / steps), least, most)
            error = errors[k - begin] = (left[k] - integers[k] * steps) / passed_on[k, k]
            left[k + 1 : end] -= np.outer(passed_on[k, k + 1 : end], error)
        left[end:] -= passed_on[begin:end, end:].T @ errors
    return integers[:-1].astype(np.int8)
