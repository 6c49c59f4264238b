import copy

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from danlu.blocks import onnx_calibration as module
from danlu.blocks import onnx_int8
from danlu.blocks.onnx_calibration import heard, rounded, smoothing

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(64, 16)).astype(np.float32)
ROWS = (RNG.normal(size=(500, 8)) @ RNG.normal(size=(8, 64)) + 0.1 * RNG.normal(size=(500, 64))).astype(np.float32)
"""Rows whose columns go together, as those of a trained model do."""


def rms(array):
    return float(np.sqrt(np.mean(np.square(array))))


def graph(nodes, weights, inputs=("x",)):
    """A model that takes rows of 64 numbers and gives `y`."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in inputs]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return helper.make_model(
        helper.make_graph(nodes, "g", values, [made], tensors),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def run(model, **inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], inputs)[0]


def product():
    return graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT})


def error(model, calls, rows):
    small = copy.deepcopy(model)
    assert onnx_int8.quantize(small, 1, calls) == ["w"]
    return rms(run(small, x=rows) - run(model, x=rows))


def test_rounding_to_suit_the_rows_changes_their_products_less():
    steps = np.abs(WEIGHT).max(axis=0) / 7  # few steps, so that rounding is what counts
    plain = np.round(WEIGHT / steps) * steps
    suited = rounded(WEIGHT, steps, ROWS) * steps
    assert rms(ROWS @ (suited - WEIGHT)) < 0.5 * rms(ROWS @ (plain - WEIGHT))


@pytest.mark.parametrize("rows", [ROWS, ROWS[:3], np.zeros((2, 64), np.float32)], ids=["many", "three", "of zeros"])
def test_no_two_neighbours_of_one_sign_exceed_127(rows):
    weight = np.abs(RNG.normal(size=(64, 32))).astype(np.float32) * np.where(RNG.random(32) < 0.5, -1, 1)
    integers = rounded(weight, onnx_int8.column_steps(weight), rows).astype(int)
    assert (np.abs(integers[1:] + integers[:-1]) <= 127).all()
    assert np.abs(integers).max() >= 60


def test_the_order_of_blocks_is_kept():
    """Widths that are no multiple of a block are rounded whole."""
    weight = RNG.normal(size=(module._BLOCK + 5, 4)).astype(np.float32)
    rows = RNG.normal(size=(400, len(weight))).astype(np.float32)
    steps = onnx_int8.column_steps(weight)
    np.testing.assert_allclose(rounded(weight, steps, rows) * steps, weight, atol=3 * steps.max())


def test_factors_even_out_what_is_larger_than_the_rest():
    rows = ROWS.copy()
    rows[:, 5] *= 100
    factors = smoothing(rows, [WEIGHT])
    assert factors.argmax() == 5
    before, after = (np.abs(r).max(axis=0) for r in (rows, rows / factors))
    assert after.max() / np.median(after) < 0.3 * before.max() / np.median(before)
    assert np.isfinite(smoothing(np.zeros((4, 64), np.float32), [np.zeros((64, 3), np.float32)])).all()


def test_a_graph_rounded_to_suit_its_calls_answers_closer():
    rows = ROWS.copy()
    rows[:, 5] *= 100
    assert error(product(), [{"x": rows[:250]}], rows[250:]) < 0.5 * error(product(), [], rows[250:])


def test_half_of_the_gain_is_the_rounding_alone(monkeypatch):
    monkeypatch.setattr(onnx_int8, "smoothing", lambda rows, weights: np.ones(rows.shape[1], np.float32))
    assert error(product(), [{"x": ROWS[:250]}], ROWS[250:]) < 0.9 * error(product(), [], ROWS[250:])


def test_calls_of_another_graph_and_tensors_nobody_heard_change_nothing():
    assert error(product(), [{"other": ROWS}], ROWS) == error(product(), [], ROWS)


def test_a_weight_with_two_inputs_is_stored_once_and_not_rounded_to_suit_one_of_them():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["z", "w"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    model = graph(nodes, {"w": WEIGHT}, ["x", "z"])
    small = copy.deepcopy(model)
    calls = [{"x": 50 * ROWS, "z": ROWS}]
    onnx_int8.quantize(small, 1, calls)
    assert sum(tensor.name == "w.int8" for tensor in small.graph.initializer) == 1
    exact = run(model, **calls[0])
    assert rms(run(small, **calls[0]) - exact) < 0.02 * rms(exact)


def test_heard_rows_are_thinned_and_tensors_are_taken_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 100)
    monkeypatch.setattr(module, "_TOGETHER", 1)
    found = dict(heard(product(), ["x", "y"], [{"x": ROWS}, {"x": ROWS}]))
    assert {name: rows.shape for name, rows in found.items()} == {"x": (100, 64), "y": (100, 16)}
    np.testing.assert_allclose(found["y"], found["x"] @ WEIGHT, rtol=1e-4, atol=1e-4)
