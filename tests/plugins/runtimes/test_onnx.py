import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from danlu.blocks import onnx_export
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.runtimes.onnx import Onnx


class Reader(nn.Module):
    """Reads ids, looks at pixels, or both; the weights come from a seed."""

    def __init__(self, recurrent=False):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 8)
        self.middle = nn.GRU(8, 8, batch_first=True) if recurrent else nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        self.pixels = nn.Linear(4, 8)

    def forward(self, ids=None, mask=None, pixels=None):
        total = 0
        if ids is not None:
            states = self.middle(self.table(ids))
            states = states[0] if isinstance(states, tuple) else states
            weight = mask.float()[..., None]
            total = (states * weight).sum(1) / weight.sum(1)
        if pixels is not None:
            total = total + self.pixels(pixels)
        return {"logits": self.head(total), "hidden": total, "nothing": None}


def text(rows, length, seed=0):
    ids = np.random.default_rng(seed).integers(0, 20, (rows, length))
    return {"ids": ids, "mask": np.ones_like(ids)}


def picture(rows):
    return {"pixels": np.random.default_rng(rows).random((rows, 4), dtype=np.float32)}


def expected(module, call):
    with torch.no_grad():
        outputs = module.eval()(**{name: torch.tensor(array) for name, array in call.items()})
    return {name: value.numpy() for name, value in outputs.items() if value is not None}


def assert_same(form, module, call):
    found, wanted = form.forward(call), expected(module, call)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Two graphs: one for texts of varying length, one for pictures."""
    folder, module = tmp_path_factory.mktemp("onnx"), Reader()
    Onnx().export(module, [text(3, 5), picture(4), text(1, 9)], folder)
    return folder, module


@pytest.fixture
def copied(exported, tmp_path):
    for path in exported[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def no_module():
    raise AssertionError("an ONNX form never asks for the torch module")


def test_answers_agree_on_lengths_not_heard(exported):
    form = Onnx(threads=1).load(exported[0], no_module)
    for call in (text(1, 1), text(2, 2), text(5, 5), text(4, 31), picture(1), picture(7)):
        assert_same(form, exported[1], call)


def test_each_set_of_input_names_has_a_graph(exported):
    listed = json.loads((exported[0] / "graphs.json").read_text())["graphs"]
    assert listed == [
        {"file": "model.onnx", "inputs": ["ids", "mask"], "outputs": ["logits", "hidden"]},
        {"file": "model1.onnx", "inputs": ["pixels"], "outputs": ["logits", "hidden"]},
    ]


def test_an_axis_that_never_varied_is_fixed_and_says_so(exported, tmp_path):
    form = Onnx().load(exported[0], no_module)
    with pytest.raises(DataError, match=r"pixels has the shape \[2, 5\], the graph takes \['batch', 4\]"):
        form.forward({"pixels": np.zeros((2, 5), np.float32)})
    with pytest.raises(DataError, match=r"ids has the shape \[2\]"):
        form.forward({"ids": np.zeros(2, np.int64), "mask": np.ones((2, 3), np.int64)})


def test_inputs_never_heard_are_refused(exported):
    form = Onnx().load(exported[0], no_module)
    with pytest.raises(DataError, match="no graph takes the inputs"):
        form.forward({**text(1, 3), **picture(1)})
    with pytest.raises(DataError, match="could not answer"):
        form.forward({"ids": np.full((1, 2), 99), "mask": np.ones((1, 2), np.int64)})


def test_it_has_no_gradients_and_no_memory(exported):
    form = Onnx().load(exported[0], no_module)
    with pytest.raises(RecipeError, match=r"no gradients[^→]*→ ask the form `trained`"):
        _ = form.module
    assert form.resume([]) is None


def test_the_bytes_depend_on_the_weights_alone(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = [text(2, 9, seed=5), text(6, 3, seed=6), picture(2)]
    Onnx().export(Reader(), calls[::-1], tmp_path)
    for name in ("model.onnx", "model1.onnx", "graphs.json"):
        content = (tmp_path / name).read_bytes()
        assert content == (exported[0] / name).read_bytes()
        assert b".py" not in content  # stack traces name files of this machine
    with torch.no_grad():
        other = Reader()
        other.head.bias += 1
    Onnx().export(other, calls[:1], tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() != (exported[0] / "model.onnx").read_bytes()


def test_a_graph_is_one_whole_checked_file(exported):
    model = onnx.load(exported[0] / "model.onnx", load_external_data=False)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version >= 17
    assert not model.graph.value_info
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


@pytest.mark.parametrize("gradients", [True, False])
def test_recurrent_layers_keep_their_length_open(tmp_path, gradients):
    """Also at the second export in one process, when torch 2.13 would freeze it, and whatever mode the caller is in."""
    module = Reader(recurrent=True)
    for _ in range(2):
        with torch.set_grad_enabled(gradients):
            Onnx().export(module, [text(2, 5), text(2, 3)], tmp_path)
    form = Onnx().load(tmp_path, no_module)
    for call in (text(1, 1), text(3, 12)):
        assert_same(form, module, call)


def test_what_was_heard_in_inference_mode_can_be_exported(tmp_path, capfd):
    module = Reader()
    with torch.inference_mode():
        heard = [{name: torch.tensor(array).numpy() for name, array in text(2, n).items()} for n in (3, 4)]
    Onnx().export(module, heard, tmp_path)
    assert_same(Onnx().load(tmp_path, no_module), module, text(2, 7))
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_exported_is_refused_and_leaves_no_list(tmp_path):
    class Branching(nn.Module):
        def forward(self, pixels):
            return {"logits": pixels if pixels.sum() > 0 else -pixels}

    with pytest.raises(
        RecipeError, match=r"(?s)torch cannot export this model to ONNX: .*leave the runtime `onnx` out"
    ):
        Onnx().export(Branching(), [picture(2)], tmp_path)
    assert not (tmp_path / "graphs.json").exists()


def test_a_model_too_large_for_one_file_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_LARGEST", 100)
    with pytest.raises(RecipeError, match="at most 2 GB"):
        Onnx().export(Reader(), [picture(2)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_in_another_file_are_refused(copied):
    model = onnx.load(copied / "model.onnx")
    onnx.save(model, copied / "model.onnx", save_as_external_data=True, location="elsewhere", size_threshold=0)
    with pytest.raises(DataError, match="lies in another file, which is never read"):
        Onnx().load(copied, no_module)


def test_weights_of_a_graph_inside_a_graph_are_looked_at_too(copied):
    """A branch of an If is a graph of its own."""
    outside = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1])
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    branch = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "branch", [], [out], [outside])
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    given = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [given], [out]))
    (copied / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match="its weight w lies in another file"):
        Onnx().load(copied, no_module)


def test_a_folder_that_is_not_its_own_is_refused(copied, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DataError, match=r"graphs\.json is missing"):
        Onnx().load(empty, no_module)
    (copied / "stray.onnx").write_bytes(b"")
    with pytest.raises(DataError, match=r"does not name stray\.onnx"):
        Onnx().load(copied, no_module)
    (copied / "stray.onnx").unlink()
    (copied / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not an ONNX graph"):
        Onnx().load(copied, no_module)
    for text_ in ("{", "[]", '{"graphs": [{"file": "model.onnx"}]}', '{"graphs": 3}'):
        (copied / "graphs.json").write_text(text_)
        with pytest.raises(DataError, match="not a list of graphs"):
            Onnx().load(copied, no_module)
    (copied / "graphs.json").write_text('{"graphs": [{"file": "../model.onnx", "inputs": []}]}')
    with pytest.raises(DataError, match="not a plain path"):
        Onnx().load(copied, no_module)


def test_a_graph_the_runtime_refuses_is_named(copied):
    model = onnx.load(copied / "model.onnx")
    model.graph.node[0].op_type = "NoSuchOperator"
    (copied / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match="ONNX Runtime refuses this graph"):
        Onnx().load(copied, no_module)


def test_answering_needs_neither_torch_nor_transformers(exported):
    code = """
import sys
import numpy as np
from pathlib import Path
from danlu.plugins.runtimes.onnx import Onnx
form = Onnx().load(Path(sys.argv[1]), None)
form.forward({"pixels": np.zeros((2, 4), np.float32)})
print(sorted({"torch", "transformers", "danlu.blocks.onnx_export"} & sys.modules.keys()))
"""
    ran = subprocess.run([sys.executable, "-c", code, exported[0]], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
