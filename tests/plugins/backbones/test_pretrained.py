"""A folder of somebody else's becomes a model: nothing of it runs, nothing is fetched, nothing is silently random."""

from __future__ import annotations

import copy
import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from danlu.blocks import hf
from danlu.blocks.tensors import to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Example, Head, collate
from danlu.core.errors import DataError
from danlu.plugins.backbones.pretrained import Pretrained

HEAD = Head("input", 3, ("a", "b", "c"))
HEAD_NAMES = ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "m"))


def start(folder: Path, head: Head = HEAD, **options: object):
    backbone = Pretrained(model=str(folder), **options)
    return backbone.start(head, backbone.processor(folder))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_weights_are_the_folders_and_the_rest_is_named(folder: Path) -> None:
    module, fresh = start(folder)
    assert fresh == HEAD_NAMES
    given = load_file(folder / "model.safetensors")
    named = dict(module.named_parameters())
    assert {f"bert.{name}" for name in given} == named.keys() - set(fresh)
    assert all(torch.equal(named[f"bert.{name}"], tensor) for name, tensor in given.items())
    assert module.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_random_weights_follow_the_seed(folder: Path) -> None:
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        heads.append(start(folder)[0].classifier.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_build_has_the_structure_of_start_and_reads_no_weights(folder: Path) -> None:
    module, _ = start(folder)
    (folder / "model.safetensors").unlink()
    backbone = Pretrained(model="asset:not-there")
    built = backbone.build(HEAD, backbone.processor(folder), folder)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == shapes


def test_no_network_is_touched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    start(folder)


def test_what_names_code_is_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(folder)
    edit(
        folder / "config.json",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"},
        _attn_implementation_internal="someone/kernel",
        attn_implementation="someone/kernel",
        quantization_config={"quant_method": "evil"},
        text_config={"_attn_implementation_internal": "someone/kernel", "auto_map": {}},
    )
    backbone = Pretrained(model=str(folder))
    processor = backbone.processor(folder)
    module, _ = backbone.start(HEAD, processor)
    assert module.config._attn_implementation == "danlu"
    (tmp_path / "saved").mkdir()
    backbone.save(tmp_path / "saved", module, processor)
    saved = (tmp_path / "saved/config.json").read_text()
    assert not any(word in saved for word in ("auto_map", "kernel", "evil", '"_'))
    assert not (tmp_path / "ran").exists()


def test_an_adapter_beside_the_weights_is_not_followed(folder: Path) -> None:
    before = start(folder)[0].state_dict().keys()
    adapter = {"base_model_name_or_path": "someone/else", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    assert start(folder)[0].state_dict().keys() == before


def test_shards_half_precision_and_old_names(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor.half() for name, tensor in whole.items()}
    names = sorted(old)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: old[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    module, fresh = start(folder)
    assert fresh == HEAD_NAMES
    found = module.bert.embeddings.LayerNorm.weight
    assert found.dtype == torch.float32
    assert torch.equal(found, whole["embeddings.LayerNorm.weight"].half().float())


def test_a_shard_may_not_lie_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../a.safetensors"}}))
    with pytest.raises(DataError, match=r"names '\.\./a\.safetensors', which is no file of the folder"):
        start(folder)


def test_links_are_followed_as_the_hubs_cache_has_them(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    for path in list(folder.iterdir()):
        path.rename(tmp_path / "blobs" / path.name)
        path.symlink_to(tmp_path / "blobs" / path.name)
    assert start(folder)[1] == HEAD_NAMES


def test_another_head_than_the_folders_is_random_again(folder: Path, tmp_path: Path) -> None:
    backbone = Pretrained(model=str(folder))
    module, _ = start(folder, Head("input", 5))
    module.save_pretrained(tmp_path / "five")
    backbone.processor(folder).save(tmp_path / "five")
    _, fresh = start(tmp_path / "five")
    assert fresh == ["classifier.bias", "classifier.weight"]


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    save_file({name: t for name, t in whole.items() if "layer.1." not in name}, folder / "model.safetensors")
    with pytest.raises(
        DataError, match=r"do not fit its configuration; missing or of another shape: bert\.encoder\.layer\.1"
    ):
        start(folder)
    wider = whole | {"embeddings.word_embeddings.weight": torch.zeros(9, 32)}
    save_file(wider, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"of another shape: bert\.embeddings\.word_embeddings\.weight"):
        start(folder)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="the weights can't be read"):
        start(folder)


def test_a_folder_with_pickled_weights_only_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match=r"weights are pickled \(pytorch_model\.bin\)"):
        start(folder)


def test_configurations_that_can_not_be_used(folder: Path) -> None:
    path = folder / "config.json"
    good = path.read_text()
    cases = {
        "knows no model of the type 'no-such'": json.dumps({"model_type": "no-such"}),
        "has no classifier for a model of the type 'vit'": json.dumps({"model_type": "vit"}),
        "is not a model's configuration: KeyError": "{}",
        "is not a model's configuration: JSONDecodeError": "{",
        "is not a model's configuration": "[1]",
        "the configuration can't be used": good.replace('"hidden_size": 32', '"hidden_size": "wide"'),
    }
    for message, text in cases.items():
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            start(folder)
    path.unlink()
    with pytest.raises(DataError, match="is not a model's configuration: FileNotFoundError"):
        start(folder)


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    plain = json.loads((folder / "tokenizer.json").read_text())
    plain["model"]["vocab"] |= {f"new{k}": len(plain["model"]["vocab"]) + k for k in range(5)}
    (folder / "tokenizer.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match=r"the tokenizer has \d+ ids, the model knows \d+"):
        start(folder)


def test_another_shape_of_answer_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="has no features head"):
        start(folder, Head("features", 3))


def test_dropout_replaces_every_rate(folder: Path) -> None:
    module, _ = start(folder, dropout=0.0)
    assert {part.p for part in module.modules() if isinstance(part, torch.nn.Dropout)} == {0.0}
    assert {part.p for part in start(folder)[0].modules() if isinstance(part, torch.nn.Dropout)} == {0.1}


def test_embeddings(folder: Path) -> None:
    module, _ = start(folder)
    assert Pretrained().embeddings(module) == [module.bert.embeddings.word_embeddings]


def test_the_library_is_quiet_and_its_settings_are_left_alone(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    level = hf.transformers.logging.get_verbosity()
    start(folder)
    out = capfd.readouterr()
    assert out.out + out.err == ""
    assert hf.transformers.logging.get_verbosity() == level


def test_alone_as_in_a_batch_on_raw_outputs(folder: Path) -> None:
    module, _ = start(folder)
    processor = Pretrained().processor(folder)
    task_inputs = [processor.inputs(text) for text in ("amber", "", "the one that came with it and then some more")]
    together = TorchForm(module).forward(collate([Example(x) for x in task_inputs], processor.pad).inputs)["logits"]
    for row, x in zip(together, task_inputs, strict=True):
        alone = TorchForm(module).forward({name: array[None] for name, array in x.items()})["logits"][0]
        assert abs(row - alone).max() < 1e-5


def test_the_quick_module_gives_the_librarys_answers_and_gradients(folder: Path) -> None:
    module, _ = start(folder, dropout=0.0)
    processor = Pretrained().processor(folder)
    examples = [Example(processor.inputs(text)) for text in ("amber", "the one that came with it and then some more")]
    batch = to_torch(collate(examples, processor.pad))
    plain = transformers.BertForSequenceClassification(copy.deepcopy(module.config))
    plain.load_state_dict(module.state_dict())
    plain.set_attn_implementation("eager")
    assert type(plain.bert.encoder.layer[-1].attention.self) is not type(module.bert.encoder.layer[-1].attention.self)
    found = []
    for model in (module, plain):
        logits = model.train()(**batch.inputs)["logits"]
        logits.square().sum().backward()
        found.append([logits.detach(), *(weight.grad.clone() for weight in model.parameters())])
    assert all(torch.allclose(a, b, atol=1e-5, rtol=1e-4) for a, b in zip(*found, strict=True))


@pytest.mark.demo
def test_minilm() -> None:
    backbone = Pretrained()
    module, fresh = backbone.start(Head("input", 2, ("neg", "pos")), backbone.processor(backbone.folder()))
    assert fresh == ["classifier.bias", "classifier.weight"]
    assert sum(weight.numel() for weight in module.parameters()) == 22_713_986
