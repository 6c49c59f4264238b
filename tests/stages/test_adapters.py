"""Adapters are stored without a second copy of their backbone: what is published, gone on from, joined, exported."""

from __future__ import annotations

import shutil

import onnx
import pytest
from safetensors import safe_open

from danlu import bundle
from danlu.blocks import earlier, merging
from danlu.blocks.dataset import DataSet
from danlu.blocks.joining import Member
from danlu.bundle import Forms
from danlu.core.errors import DataError, RecipeError
from danlu.registry.store import Registry
from danlu.stages.compress import Compress
from danlu.stages.finetune import Finetune
from danlu.stages.publish import Publish
from danlu.stages.verify import Verify
from stages.conftest import run_stage


def adapter(folder, **options):
    chosen = {"backbone": {"pretrained": str(folder)}, "method": {"lora": {"rank": 2}}, "batch_size": 16}
    return Finetune(**(chosen | {"steps": 6, "lr": 0.01, "precision": "fp32"} | options))


@pytest.fixture(scope="module")
def trained(store, texts, tiny_bert, tmp_path_factory):
    """Two LoRA on one backbone, whose own folder is gone afterwards."""
    folder = tmp_path_factory.mktemp("asset") / "bert"
    shutil.copytree(tiny_bert, folder)
    made = [run_stage(store, adapter(folder, seed=seed), dataset=texts[0]) for seed in (0, 1)]
    shutil.rmtree(folder)
    return made


def answers(folder, data, split="test"):
    return bundle.load(folder)(DataSet.open(data.path).judged(split)[0])


def far(data, some, others):
    task = DataSet.open(data.path).task
    return max(task.distance(a, b) for a, b in zip(some, others, strict=True))


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_second_adapter_on_a_backbone_adds_its_own_bytes_only(run, store, texts, trained):
    registry = Registry(store.path)
    stages = [Publish(name=name) for name in ("first", "second")]
    run(stages[0], model=trained[0])
    before = size(store.path / "blobs")
    run(stages[1], model=trained[1])
    added = size(store.path / "blobs") - before
    base, own = (trained[1].file(f"trained/part{k}.safetensors").stat().st_size for k in (0, 1))
    assert own < 20_000 < base / 4
    assert added < own + 20_000, "beside the weights: bundle.json, forms.json and the curves of its training"
    versions = [registry.version(name, 1) for name in ("first", "second")]
    assert versions[0].files["trained/part0.safetensors"] == versions[1].files["trained/part0.safetensors"]
    assert versions[0].files["trained/part1.safetensors"] != versions[1].files["trained/part1.safetensors"]
    for version, model in zip(versions, trained, strict=True):
        forms = Forms.open(registry.open(version))
        assert (forms.names, forms.default) == (("trained",), "trained")
        published = answers(forms.folder("trained"), texts[0])
        assert published == answers(model.path / "trained", texts[0])
    assert published != answers(trained[0].path / "trained", texts[0])


def test_a_backbone_that_is_missing_is_named_by_its_digest(trained, tmp_path):
    folder = tmp_path / "m"
    shutil.copytree(trained[0].path / "trained", folder)
    (folder / "part0.safetensors").unlink()
    digest = bundle.describe(folder).files["part0.safetensors"]
    with pytest.raises(DataError, match=f"the frozen backbone.* is missing; its SHA-256 is {digest}"):
        bundle.load(folder)


def test_an_adapter_is_compressed_in_its_plain_structure(run, texts, trained):
    data = texts[0]
    made = run(Compress(), dataset=data, model=trained[0])
    forms = Forms.open(made.path)
    assert (forms.names, forms.default) == (("trained", "onnx", "int8"), "int8")
    assert forms.spec("onnx").of == "trained"
    graph = onnx.load(forms.folder("onnx") / "model.onnx").graph
    assert not [tensor.name for tensor in graph.initializer if "lora" in tensor.name]
    thin = [tensor.name for tensor in graph.initializer if len(tensor.dims) == 2 and 2 in tensor.dims]
    assert len([name for name in thin if "embeddings" not in name]) == 1, "the head of two labels: no thin product"
    assert run(Verify(), dataset=data, model=made).json("parity.json")["forms"]["onnx"]["distance_max"] <= 1e-4


def test_the_module_of_an_adapter_is_compressed_too(run, texts, trained):
    made = run(Compress(runtime="torch", by=({"int8": {"smallest": 256}},)), dataset=texts[0], model=trained[0])
    assert [part.name for part in bundle.describe(made.path / "int8").parts] == ["int8"]
    assert made.numbers["metrics"]["accuracy"]["drop"] < 0.05


def test_training_goes_on_from_an_adapter(run, texts, trained, tmp_path):
    data, first = texts[0], trained[0]
    base = earlier.Base.of(first.path, tmp_path / "plain")
    assert far(data, answers(base.folder, data), answers(first.path / "trained", data)) <= 1e-4
    with safe_open(base.folder / "model.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if "lora" in name]  # noqa: SIM118 - not a dict
    again = run(adapter("", backbone=None, steps=1, lr=1e-6), dataset=data, base=first)
    assert far(data, answers(again.path / "trained", data), answers(first.path / "trained", data)) < 1e-3
    one, other = (bundle.describe(m.path / "trained").files["part0.safetensors"] for m in (first, again))
    assert one != other, "the second adapter stands on the first one's merged weights"


def test_an_adapter_may_be_a_member(texts, trained):
    data, first = texts[0], trained[0]
    member = Member.of("lora", first.path, DataSet.open(data.path).task)
    assert not [name for name in member.module.state_dict() if "lora" in name]
    asked = DataSet.open(data.path).judged("test")[0]
    said = member.predictor(DataSet.open(data.path).task)(asked)
    assert far(data, said, answers(first.path / "trained", data)) <= 1e-4


def test_parts_that_stay_can_not_be_gone_on_from(run, texts, tiny_bert, tmp_path):
    staying = run(adapter(tiny_bert, method={"adapter": {"size": 2}}, steps=2), dataset=texts[0])
    with pytest.raises(RecipeError, match="it keeps parts of adapter beside its weights"):
        earlier.Base.of(staying.path, tmp_path / "plain")
    assert merging.plain(staying.path / "trained", tmp_path / "plain") == staying.path / "trained"
    with pytest.raises(RecipeError, match="parts of the method adapter stay beside the weights"):
        run(Compress(runtime="torch"), dataset=texts[0], model=staying)


def test_merging_what_has_no_parts_is_refused_before_the_training(run, texts, tiny_bert):
    with pytest.raises(RecipeError, match="full has no parts that could go into the weights"):
        run(adapter(tiny_bert, method="full", merge=True), dataset=texts[0])
