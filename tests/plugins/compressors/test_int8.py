import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from danlu.blocks import onnx_int8
from danlu.blocks.int8 import Int8Conv2d, Int8Embedding, Int8Linear
from danlu.core.errors import RecipeError
from danlu.plugins.compressors.int8 import Int8
from danlu.plugins.runtimes.onnx import Onnx

RNG = np.random.default_rng(0)


class Mixed(nn.Module):
    """A table, a convolution, and linear layers with and without a bias."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(40, 64)
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.first = nn.Linear(64, 96)
        self.second = nn.Linear(96, 64, bias=False)
        self.head = nn.Linear(64, 3)

    def forward(self, ids):
        states = self.table(ids)
        states = states + self.conv(states[:, None]).mean(1)
        states = torch.relu(self.first(states))
        return {"logits": self.head(self.second(states).mean(1))}


def ids(rows, length, seed=0):
    return {"ids": np.random.default_rng(seed).integers(0, 40, (rows, length))}


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The folders of the fp32 and of the int8 form of one model."""
    exact, small = tmp_path_factory.mktemp("fp32"), tmp_path_factory.mktemp("int8")
    Onnx().export(Mixed(), [ids(2, 5), ids(3, 7)], exact)
    Int8(smallest=64).compress_form(exact, [], small)
    return exact, small


def run(model, **inputs):
    """The first output of a graph; a graph is stripped of its name so that no session of another is taken."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def graph(nodes, inputs, outputs, weights):
    """A model from nodes, `name: (type, shape)` and `name: array`."""
    values = [[helper.make_tensor_value_info(n, t, s) for n, (t, s) in part.items()] for part in (inputs, outputs)]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    made = helper.make_graph(nodes, "g", *values, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def weight(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# ---- graphs ----------------------------------------------------------------------------------------------------------


def test_the_graph_is_smaller_and_answers_nearly_the_same(forms):
    exact, small = (Onnx(threads=1).load(folder, None) for folder in forms)
    sizes = [(folder / "model.onnx").stat().st_size for folder in forms]
    assert sizes[1] < 0.6 * sizes[0]
    for call in (ids(1, 1), ids(4, 7), ids(2, 30)):
        a, b = exact.forward(call)["logits"], small.forward(call)["logits"]
        assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()


def test_an_answer_does_not_depend_on_its_batch_mates(forms):
    form = Onnx(threads=1).load(forms[1], None)
    batch = ids(6, 9)
    together = form.forward(batch)["logits"]
    alone = np.concatenate([form.forward({"ids": batch["ids"][k : k + 1]})["logits"] for k in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_same_graph_gives_the_same_bytes(forms, tmp_path):
    Int8(smallest=64).compress_form(forms[0], [], tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == (forms[1] / "model.onnx").read_bytes()
    assert (tmp_path / "graphs.json").read_bytes() == (forms[0] / "graphs.json").read_bytes()


def test_a_compressor_that_finds_nothing_says_so(forms, tmp_path):
    with pytest.raises(RecipeError, match=r"(?s)no weight of MatMul.*1000000 numbers.*leave int8 out"):
        Int8(smallest=1_000_000).compress_form(forms[0], [], tmp_path)


def test_no_pair_of_products_overflows_sixteen_bits():
    """Processors without VNNI add the products of neighbours in 16 bits; an activation is at most 255."""
    wild = np.concatenate([weight(64, 50), np.full((64, 1), 3.0), 10.0 ** RNG.uniform(-6, 6, (64, 20))], axis=1)
    wild = wild.astype(np.float32)
    steps = onnx_int8.column_steps(wild)
    integers = np.round(wild / steps).astype(int)
    for part in (np.maximum(integers, 0), np.maximum(-integers, 0)):
        assert (255 * (part[1:] + part[:-1])).max() <= 2**15 - 1
    assert np.abs(integers).max() <= 127
    assert np.median(np.abs(integers).max(axis=0)[:50]) > 80  # halving every weight would be safe too, and 64


def test_a_column_of_zeros_stays_zero():
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, [2, 4])},
        {"y": (TensorProto.FLOAT, [2, 3])},
        {"w": np.zeros((4, 3), np.float32)},
    )
    assert onnx_int8.quantize(model, 1) == ["w"]
    np.testing.assert_array_equal(run(model, x=weight(2, 4)), np.zeros((2, 3)))


@pytest.mark.parametrize("rows", [weight(3, 16), np.zeros((3, 16), np.float32), 1e30 * weight(3, 16)])
def test_every_row_has_its_own_scale(rows):
    rows = rows * np.array([[1.0], [1e-6], [1e3]], np.float32)
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n", 16])},
        {"y": (TensorProto.FLOAT, ["n", 8])},
        {"w": weight(16, 8)},
    )
    exact = run(model, x=rows)
    onnx_int8.quantize(model, 1)
    error = np.abs(run(model, x=rows) - exact).max(axis=1)
    assert (error <= 0.03 * np.abs(exact).max(axis=1)).all()


def activated(op):
    """y = activation(x) · w with weights that int8 holds exactly, and the same graph in int8."""
    nodes = [helper.make_node(op, ["x"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    shapes = {"x": (TensorProto.FLOAT, ["n", 256])}, {"y": (TensorProto.FLOAT, ["n", 8])}
    w = np.float32([[(row + column) % 2 * (-1) ** column for column in range(8)] for row in range(256)])
    exact = graph(nodes, *shapes, {"w": w})
    small = copy.deepcopy(exact)
    onnx_int8.quantize(small, 1)
    return exact, small


def rms_error(op, x):
    exact, small = activated(op)
    return np.sqrt(np.mean((run(small, x=x) - run(exact, x=x)) ** 2))


@pytest.mark.parametrize("op", ["Gelu", "Relu", "Sigmoid"])
def test_rows_that_have_a_least_value_are_counted_from_there(op, monkeypatch):
    x = 3 * np.random.default_rng(2).normal(size=(64, 256)).astype(np.float32)
    counted = rms_error(op, x)
    monkeypatch.setattr(onnx_int8, "_LEAST", {})
    assert counted < 0.75 * rms_error(op, x)


@pytest.mark.parametrize("op", ["Gelu", "Relu", "Sigmoid"])
@pytest.mark.parametrize("x", [-80.0, -0.7518, 0.0, 80.0])
def test_rows_at_the_ends_of_an_activation(op, x):
    exact, small = activated(op)
    rows = np.full((1, 256), x, np.float32)
    np.testing.assert_allclose(run(small, x=rows), run(exact, x=rows), rtol=1e-4, atol=1e-4)


GEMMS = {
    "plain": ({}, True),
    "transposed": ({"transB": 1}, True),
    "no bias": ({"transB": 1}, True),
    "scaled": ({"alpha": 0.5}, False),
    "half a bias": ({"beta": 0.5}, False),
    "transposed input": ({"transA": 1}, False),
}


@pytest.mark.parametrize("name", GEMMS)
def test_gemm(name):
    attributes, changes = GEMMS[name]
    w = weight(8, 16) if attributes.get("transB") else weight(16, 8)
    x = weight(16, 5) if attributes.get("transA") else weight(5, 16)
    inputs = ["x", "w"] if name == "no bias" else ["x", "w", "b"]
    model = graph(
        [helper.make_node("Gemm", inputs, ["y"], **attributes)],
        {"x": (TensorProto.FLOAT, list(x.shape))},
        {"y": (TensorProto.FLOAT, [5, 8])},
        {"w": w, "b": weight(8)},
    )
    exact = run(model, x=x)
    assert onnx_int8.quantize(model, 1) == (["w.T"] if attributes.get("transB") else ["w"] if changes else [])
    onnx.checker.check_model(model)
    np.testing.assert_allclose(run(model, x=x), exact, atol=0.02 * np.abs(exact).max() if changes else 1e-5)


@pytest.mark.parametrize("width", [64, 128, 10])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_a_table_may_be_looked_up_by_ids_of_any_shape(width, shape):
    model = graph(
        [helper.make_node("Gather", ["w", "ids"], ["y"])],
        {"ids": (TensorProto.INT64, list(shape))},
        {"y": (TensorProto.FLOAT, [*shape, width])},
        {"w": weight(20, width) * 10 ** RNG.uniform(-3, 3, (20, 1)).astype(np.float32)},
    )
    wanted = np.asarray(RNG.integers(0, 20, shape))
    exact = run(model, ids=wanted)
    assert onnx_int8.quantize(model, 1) == ["w"]
    found = run(model, ids=wanted)
    assert found.shape == exact.shape
    assert (np.abs(found - exact) <= np.abs(exact).max(-1, keepdims=True) / 127).all()


def test_one_weight_may_be_a_table_and_a_factor():
    """A language model's head is its table, transposed."""
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["x"]),
        helper.make_node("Gemm", ["x", "w"], ["y"], transB=1),
        helper.make_node("MatMul", ["y", "w"], ["z"]),
    ]
    model = graph(nodes, {"ids": (TensorProto.INT64, [4])}, {"z": (TensorProto.FLOAT, [4, 64])}, {"w": weight(20, 64)})
    wanted = np.array([0, 3, 7, 19])
    exact = run(model, ids=wanted)
    assert onnx_int8.quantize(model, 1) == ["w", "w.T", "w"]
    np.testing.assert_allclose(run(model, ids=wanted), exact, atol=0.03 * np.abs(exact).max())


def test_what_is_not_a_weight_of_ours_is_left_alone():
    """A table looked up along another axis, whole numbers, a product of two inputs, a weight used inside an If."""
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "inner"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Gather", ["table", "one"], ["g"], axis=1),
        helper.make_node("MatMul", ["x", "x"], ["m"]),
        helper.make_node("If", ["yes"], ["i"], then_branch=branch, else_branch=branch),
        helper.make_node("MatMul", ["x", "w"], ["k"]),
        helper.make_node("Sum", ["m", "i", "k"], ["y"]),
    ]
    weights = {
        "table": weight(4, 4),
        "one": np.array([1]),
        "inner": weight(4, 4),
        "w": weight(4, 4),
        "yes": np.array(True),
    }
    outputs = {"y": (TensorProto.FLOAT, [4, 4]), "g": (TensorProto.FLOAT, [4, 1])}
    model = graph(nodes, {"x": (TensorProto.FLOAT, [4, 4])}, outputs, weights)
    x = weight(4, 4)
    exact = run(model, x=x)
    assert onnx_int8.quantize(model, 1) == ["w"]
    assert {tensor.name for tensor in model.graph.initializer} >= {"table", "one", "inner", "yes"}
    np.testing.assert_allclose(run(model, x=x), exact, atol=0.05 * np.abs(exact).max())


# ---- modules ---------------------------------------------------------------------------------------------------------


def ask(module, call):
    with torch.no_grad():
        return module(torch.tensor(call["ids"]))["logits"].numpy()


def test_a_module_is_smaller_and_answers_nearly_the_same():
    exact = Mixed().eval()
    small = Int8(smallest=64).compress(copy.deepcopy(exact), [])
    kinds = [type(part) for part in (small.table, small.conv, small.first, small.head)]
    assert kinds == [Int8Embedding, Int8Conv2d, Int8Linear, Int8Linear]
    sizes = [sum(tensor.nbytes for tensor in module.state_dict().values()) for module in (exact, small)]
    assert sizes[1] < 0.35 * sizes[0]
    a, b = ask(exact, ids(4, 7)), ask(small, ids(4, 7))
    assert 0 < np.abs(a - b).max() < 0.02 * np.abs(a).max()


def test_the_structure_is_replayed_and_filled():
    small = Int8(smallest=64).compress(Mixed().eval(), [])
    replayed = Int8(smallest=64).wrap(Mixed().eval())
    assert not np.allclose(ask(replayed, ids(2, 3)), ask(small, ids(2, 3)))
    replayed.load_state_dict(small.state_dict())
    np.testing.assert_array_equal(ask(replayed, ids(2, 3)), ask(small, ids(2, 3)))


def test_small_layers_and_other_classes_are_left_alone():
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 2), Own(64, 64), nn.Embedding(64, 64, max_norm=1.0))
    Int8().compress(model, [])
    assert [type(part) for part in model] == [Int8Linear, nn.Linear, Own, nn.Embedding]
    with pytest.raises(RecipeError, match=r"no linear layer, embedding or convolution of 1024 numbers"):
        Int8().compress(model, [])


def test_a_layer_used_twice_is_replaced_twice():
    shared = nn.Linear(32, 32)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    Int8().compress(model, [])
    assert isinstance(model[0], Int8Linear)
    assert model[0] is model[2]


def test_gradients_reach_the_inputs():
    model = Int8().compress(nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32)), [])
    x = torch.randn(2, 32, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_zero_weights_stay_zero():
    model = nn.Sequential(nn.Linear(32, 32, bias=False))
    nn.init.zeros_(model[0].weight)
    assert not Int8().compress(model, [])(torch.randn(3, 32)).any()
