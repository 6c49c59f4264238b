import shutil

import numpy as np
import pytest
import torch

from danlu import bundle
from danlu.blocks import judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.splits import row_keys
from danlu.bundle import FormSpec
from danlu.core.artifact import Artifact
from danlu.core.errors import DataError, GateError
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.stages.verify import Verify


@pytest.fixture(scope="module")
def parity(store, digits, small):
    draft = store.draft("f" * 64, kind="parity", step="same", stage="verify")
    from danlu.core.events import Events

    Verify().run({"dataset": digits[0], "model": small}, draft, Events.silent())
    return draft.commit().json("parity.json")


def test_every_form_and_the_served_one_are_measured_on_all_test_rows(parity, digits):
    assert list(parity["forms"]) == ["trained", "onnx", "int8", "http"]
    assert parity["rows"] == DataSet.open(digits[0].path).info["rows"]["test"]
    assert parity["default"] == "int8"
    assert all(form["passed"] and form["faults"] == [] for form in parity["forms"].values())


def test_exact_forms_agree_to_rounding_and_the_lossy_one_is_measured(parity):
    onnx, int8, http = (parity["forms"][name] for name in ("onnx", "int8", "http"))
    assert (onnx["of"], int8["of"], http["of"]) == ("trained", "trained", "int8")
    assert onnx["distance_max"] < 1e-5
    assert http["distance_max"] < 1e-6
    assert onnx["changed"] == http["changed"] == 0
    assert 1e-4 < int8["distance_p99"] <= int8["distance_max"] < 0.1
    assert not int8["exact"]
    assert len(int8["worst"]) == 10
    assert "picture" in int8["worst"][0]["input"]
    assert sum(label["rows"] for label in int8["changed_per_label"].values()) == parity["rows"]


def test_each_form_has_metrics_with_intervals_size_and_latency(parity):
    for name, form in parity["forms"].items():
        assert form["metrics"]["accuracy"]["low"] < form["metrics"]["accuracy"]["value"]
        assert form["metrics"]["roc_auc"]["value"] > 0.9
        assert form["latency_ms"]["1"] > 0
        assert form["latency_ms"]["32"] > 0
        assert (form["size_mb"] is None) is (name == "http")
    assert parity["forms"]["int8"]["drop"]["accuracy"]["value"] < 0.02
    assert parity["forms"]["trained"]["distance_max"] is None


def test_a_few_inputs_of_nobody_are_kept_with_the_answers_of_the_served_form(parity, small):
    predictor = bundle.load(small.path / "int8")
    asked = [one["input"] for one in parity["sample"]]
    assert len(asked) == 4
    answers = predictor([predictor.task.from_json(x) for x in asked])
    assert [one["answer"]["label"] for one in parity["sample"]] == [answer["label"] for answer in answers]
    assert all(predictor.task.distance(one["answer"], answer) < 1e-3 for one, answer in zip(parity["sample"], answers))


def perturbed(scale):
    """A form `merged` that claims to be exact, with one weight moved."""

    def change(folder, specs):
        module, backbone, task, processor = bundle.load_module(folder / "trained")
        with torch.no_grad():
            module.head.weight[0, 0] += scale
        bundle.save(folder / "merged", backbone=backbone, task=task, processor=processor, module=module)
        return specs | {"merged": FormSpec(of="trained", exact=True, tolerance=1e-4)}, "merged"

    return change


def test_one_weight_moved_a_little_is_caught(run, digits, remade, store):
    faulty = remade(digits[1], perturbed(0.05))
    before = len(store.artifacts())
    with pytest.raises(
        GateError, match=r"(?s)1 of 3 forms .*merged \(made from trained\): an answer lies 0\.0\d+ away"
    ) as fault:
        run(Verify(), dataset=digits[0], model=faulty)
    assert "the rows that differ most" in fault.value.what
    assert "row " in fault.value.what
    assert len(store.artifacts()) == before


def test_one_weight_moved_within_rounding_passes(run, digits, remade):
    made = run(Verify(), dataset=digits[0], model=remade(digits[1], perturbed(1e-6)))
    assert made.json("parity.json")["forms"]["merged"]["passed"]


def test_a_server_that_reads_inputs_another_way_is_caught(run, digits, monkeypatch):
    honest = ImageClassification.from_json
    monkeypatch.setattr(
        ImageClassification, "from_json", lambda self, value: np.flipud(np.asarray(_open(honest(self, value))))
    )
    with pytest.raises(GateError, match=r"(?s)1 of 2 forms .*http \(made from trained\).*labels changed"):
        run(Verify(), dataset=digits[0], model=digits[1])


def _open(content):
    from danlu.blocks.pixels import open_picture

    return open_picture(content)


def lossy(scale, tolerance=0.5):
    def change(folder, specs):
        _, default = perturbed(scale)(folder, {})
        return specs | {default: FormSpec(of="trained", exact=False, tolerance=tolerance)}, default

    return change


def test_a_lossy_form_may_be_away_but_not_change_many_labels(run, digits, remade):
    made = run(Verify(), dataset=digits[0], model=remade(digits[1], lossy(0.05)))
    assert made.json("parity.json")["forms"]["merged"]["distance_max"] > 1e-4
    with pytest.raises(GateError, match=r"% of the labels changed, 1\.00% are allowed"):
        run(Verify(), dataset=digits[0], model=remade(digits[1], lossy(50.0, tolerance=1.0)))
    with pytest.raises(GateError, match=r"one answer in a hundred lies 0\.\d+ away or more"):
        run(Verify(max_changed=1.0), dataset=digits[0], model=remade(digits[1], lossy(0.5, tolerance=0.001)))


def test_the_budget_of_the_compression_holds_on_the_test_rows_too(run, digits, remade):
    def change(folder, specs):
        (folder / "budget.json").write_text('{"max_drop": {"accuracy": 0.005}}')
        return lossy(50.0, tolerance=1.0)(folder, specs)

    with pytest.raises(GateError, match=r"accuracy falls by 0\.\d+ on the test rows, 0\.005 is allowed"):
        run(Verify(max_changed=1.0), dataset=digits[0], model=remade(digits[1], change))


def test_a_test_row_that_leaked_into_training_is_caught(run, digits, tmp_path):
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    from danlu.blocks.dataset import split_digest

    folder = tmp_path / "data"
    shutil.copytree(digits[0].path, folder)
    data = DataSet.open(folder)
    leaky = pa.concat_tables([data.table("train"), data.table("test").slice(0, 2)])
    (folder / "train.parquet").unlink()
    pq.write_table(leaky, folder / "train.parquet")
    info = json.loads((folder / "dataset.json").read_text())
    info["digests"]["train"] = split_digest(leaky, data.task)
    (folder / "dataset.json").chmod(0o644)
    (folder / "dataset.json").write_text(json.dumps(info))
    assert len(set(row_keys(leaky, ["image"]))) == len(leaky)
    with pytest.raises(DataError, match="2 inputs are both in train and in test"):
        run(Verify(), dataset=Artifact(folder, digits[0].manifest), model=digits[1])


def test_texts_go_the_same_way(run, texts):
    forms = run(Verify(), dataset=texts[0], model=texts[1]).json("parity.json")["forms"]
    assert list(forms) == ["trained", "http"]
    assert forms["http"]["distance_max"] < 1e-6
    assert "text" in forms["http"]["worst"][0]["input"] if forms["http"]["worst"] else True


def test_all_metrics_are_those_that_were_chosen(run, digits):
    made = run(Verify(metrics=("accuracy",)), dataset=digits[0], model=digits[1]).json("parity.json")
    assert set(made["forms"]["trained"]["metrics"]) == {"accuracy", "latency", "size"}


def test_judging_answers_in_parts_gives_them_in_order(heard):
    from danlu.core.events import Events

    asked = []
    answers = judging.ask_all(
        lambda x: (asked.append(len(x)), list(x))[1], list(range(1100)), Events([heard.append]), "w"
    )
    assert answers == list(range(1100))
    assert asked == [512, 512, 76]
    assert heard[-1].data["done"] == heard[-1].data["total"] == 1100
