import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.bundle import Forms, FormSpec
from danlu.contracts import Compressor
from danlu.core.errors import DanluError, GateError, RecipeError
from danlu.plugins.compressors.int8 import Int8
from danlu.stages.compress import Budget, Compress


def answers(folder, data, split="validation"):
    return bundle.load(folder)(DataSet.open(data.path).judged(split)[0])


def test_the_result_has_all_forms_and_the_compressed_one_is_served(small, digits):
    forms = Forms.open(small.path)
    assert forms.names == ("trained", "onnx", "int8")
    assert forms.default == "int8"
    assert (forms.spec("onnx").of, forms.spec("onnx").exact, forms.spec("onnx").tolerance) == ("trained", True, 1e-4)
    assert (forms.spec("int8").of, forms.spec("int8").exact) == ("trained", False)
    assert small.numbers["size_mb"]["int8"] < 0.4 * small.numbers["size_mb"]["trained"]
    for mine, theirs in ((small.path, digits[1].path),):
        assert (mine / "trained" / "bundle.json").read_bytes() == (theirs / "trained" / "bundle.json").read_bytes()


def test_the_forms_that_were_there_take_no_space_twice(small, digits):
    file = next((small.path / "trained").glob("*.safetensors"))
    assert file.samefile(digits[1].path / "trained" / file.name)


def test_the_forms_answer_like_the_trained_one(small, digits):
    data = digits[0]
    task = DataSet.open(data.path).task
    trained = answers(small.path / "trained", data)
    for form, tolerance in (("onnx", 1e-4), ("int8", 0.1)):
        distances = [task.distance(a, b) for a, b in zip(trained, answers(small.path / form, data))]
        assert max(distances) < tolerance
        assert (max(distances) > 1e-4) is (form == "int8"), "int8 changed nothing"


def test_what_the_budget_was_and_what_it_cost_is_written_down(small):
    told = json.loads((small.path / "budget.json").read_text())
    assert told["max_drop"] == {"accuracy": 0.02}
    assert told["rows"] == 180
    cost = told["metrics"]["accuracy"]
    assert cost["drop"] == pytest.approx(cost["before"] - cost["after"])
    assert cost["low"] <= cost["drop"] <= cost["high"]


def ruin(self, folder, calls, out):
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim == 2:
            tensor.CopyFrom(numpy_helper.from_array(array[::-1].copy(), tensor.name))
    onnx.save(model, out / "model.onnx")
    shutil.copyfile(folder / "graphs.json", out / "graphs.json")


def test_a_compressor_that_ruins_the_model_is_stopped_by_the_budget(run, digits, store, monkeypatch):
    data, model = digits
    monkeypatch.setattr(Int8, "compress_form", ruin)
    before = len(store.artifacts())
    with pytest.raises(
        GateError, match=r"int8 costs more than the budget .* accuracy falls by 0\.\d+ \(0\.\d+ → "
    ) as fault:
        run(Compress(budget={"max_drop": {"accuracy": 0.005}}), dataset=data, model=model)
    assert "0.005 is allowed" in fault.value.what
    assert "f1 falls" not in fault.value.what
    assert len(store.artifacts()) == before


def test_without_a_budget_the_cost_is_told_all_the_same(run, digits, monkeypatch):
    data, model = digits
    monkeypatch.setattr(Int8, "compress_form", ruin)
    made = run(Compress(), dataset=data, model=model)
    assert made.numbers["metrics"]["accuracy"]["drop"] > 0.3
    assert made.numbers["metrics"]["f1"]["low"] > 0.3


def test_a_metric_that_rises_is_no_drop(run, digits, monkeypatch):
    data, model = digits
    monkeypatch.setattr(Int8, "compress_form", ruin)
    ruined = run(Compress(), dataset=data, model=model)
    stage, gold = Compress(), DataSet.open(data.path).judged("validation")[1]
    good, bad = answers(model.path / "trained", data), answers(ruined.path / "int8", data)
    metrics = stage.budgeted(DataSet.open(data.path))
    rise = stage.costs(metrics, bad, good, gold)["accuracy"]
    assert rise["drop"] < -0.3
    assert rise["low"] < rise["drop"] < rise["high"] < 0


class Copy(Compressor):
    tolerance = 0.2

    def compress_form(self, folder, calls, out):
        assert not (out / "model.onnx").exists()
        shutil.copyfile(folder / "model.onnx", out / "model.onnx")
        shutil.copyfile(folder / "graphs.json", out / "graphs.json")


def test_compressors_work_one_after_the_other(run, digits, small):
    data, model = digits
    made = run(Compress(by=(Copy(), "int8")), dataset=data, model=model)
    forms = Forms.open(made.path)
    assert forms.default == "Copy_int8"
    assert forms.spec("Copy_int8").tolerance == 0.2
    assert not list((made.path / "Copy_int8").glob(".step*"))
    assert (made.path / "Copy_int8" / "model.onnx").read_bytes() == (small.path / "int8" / "model.onnx").read_bytes()


def test_the_module_itself_can_be_compressed(run, digits):
    data, model = digits
    made = run(Compress(runtime="torch"), dataset=data, model=model)
    assert Forms.open(made.path).names == ("trained", "int8")
    assert bundle.describe(made.path / "int8").form.name == "torch"
    assert made.numbers["size_mb"]["int8"] < 0.5 * made.numbers["size_mb"]["trained"]
    assert made.numbers["metrics"]["accuracy"]["drop"] < 0.02


def test_a_merged_form_is_what_is_exported(run, digits, remade):
    def merge(folder, specs):
        shutil.copytree(folder / "trained", folder / "merged")
        return specs | {"merged": FormSpec(of="trained", tolerance=1e-4)}, "merged"

    data, model = digits
    made = run(Compress(), dataset=data, model=remade(model, merge))
    forms = Forms.open(made.path)
    assert forms.names == ("trained", "merged", "onnx", "int8")
    assert forms.spec("onnx").of == "merged"


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"by": ()}, "no compressor is named"),
        ({"budget": {"max_drop": {"size": 0.1}}}, "size is no metric of answers"),
        ({"budget": {"max_drop": {"acuracy": 0.1}}}, "did you mean accuracy"),
        ({"by": ({"int8": {"smallest": 10**9}},)}, "int8 would change nothing"),
    ],
)
def test_what_cannot_be_done_is_said(run, digits, settings, match):
    with pytest.raises(DanluError, match=match):
        run(Compress(**settings), dataset=digits[0], model=digits[1])


def test_a_model_is_not_compressed_twice_the_same_way(run, digits, small):
    with pytest.raises(RecipeError, match="the model has a form int8 already"):
        run(Compress(), dataset=digits[0], model=small)


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Budget(max_drop={"accuracy": -0.1})
