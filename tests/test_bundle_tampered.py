"""A model on disk that was tampered with is refused, and the fault names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bundles import Model, edit, make, shake, sign
from danlu import bundle
from danlu.core import plugin
from danlu.core.errors import DataError
from danlu.plugins.compressors.int8 import Int8
from danlu.plugins.runtimes.onnx import Onnx


@pytest.fixture
def model(tiny_bert: Path) -> Model:
    made = make(tiny_bert)
    shake(made.module)
    return made


# ---- a model that was tampered with ------------------------------------------------------------------------------------


def test_one_flipped_byte_in_any_file_is_refused(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    names = sorted(path.name for path in folder.iterdir())
    expected = [
        "bundle.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    assert names == expected
    for name in names:
        if name != "bundle.json":
            data = bytearray((folder / name).read_bytes())
            data[len(data) // 2] ^= 1
            (folder / name).write_bytes(data)
            with pytest.raises(DataError, match=f"(?s){name}.*SHA-256 is another"):
                bundle.load(folder)
            data[len(data) // 2] ^= 1
            (folder / name).write_bytes(data)
    bundle.load(folder)


def test_a_missing_file_is_named(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    (folder / "vocab.txt").unlink()
    with pytest.raises(DataError, match=r"vocab\.txt: a file of the model is missing"):
        bundle.load(folder)


def test_every_tensor_has_a_place_and_every_place_a_tensor(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    file = folder / "model.safetensors"
    whole = load_file(file)
    some = {name: tensor for name, tensor in whole.items() if "classifier" not in name and "layer.1.output" not in name}
    damaged = {
        r"have no weights for .*layer\.1\.output.*, .*, .* and \d+ more": some,
        "the model has no place for extra": {**whole, "extra": torch.zeros(1)},
        r"classifier\.bias is float32 \[4\], the model wants float32 \[3\]": whole
        | {"classifier.bias": torch.zeros(4)},
        r"classifier\.bias is float16 \[3\]": whole | {"classifier.bias": torch.zeros(3, dtype=torch.float16)},
    }
    for message, tensors in damaged.items():
        save_file(tensors, file)
        sign(folder)
        with pytest.raises(DataError, match=message):
            bundle.load(folder)
    file.write_bytes(b"nonsense")
    sign(folder)
    with pytest.raises(DataError, match="the weights can't be read"):
        bundle.load(folder)


def test_emptied_weights_are_refused(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    edit(folder, weights=[])
    with pytest.raises(DataError, match="no weights for"):
        bundle.load(folder)


def test_emptied_weights_of_an_int8_module_are_refused(model: Model, tmp_path: Path) -> None:
    parts = (Int8(smallest=1),)
    folder = model.save(tmp_path / "m", parts[0].compress(model.module, []), parts)
    bundle.load(folder)
    edit(folder, weights=[])
    with pytest.raises(DataError, match="no weights for"):
        bundle.load(folder)


@pytest.mark.parametrize("compressed", [(), (Int8(),)])
def test_graphs_that_are_not_listed_are_refused(compressed: tuple, model: Model, tmp_path: Path) -> None:
    def write(path: Path) -> None:
        (path / "model.onnx").write_bytes(b"")
        (path / "graphs.json").write_text('{"graphs": []}')

    folder = tmp_path / "form"
    bundle.save_form(folder, of=model.save(tmp_path / "m"), runtime=Onnx(), compressed=compressed, write=write)
    edit(folder, files={})
    with pytest.raises(DataError, match=r"bundle\.json does not name this file"):
        bundle.load(folder)
    (folder / "model.onnx").unlink()
    sign(folder)
    with pytest.raises(DataError, match=r"graphs\.json: it names no graph"):
        bundle.load(folder)


def test_a_file_that_is_not_named_is_refused(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    (folder / ".DS_Store").write_bytes(b"x")
    bundle.load(folder)
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(DataError, match=r"added_tokens\.json: bundle\.json does not name this file.*\n.*remove it"):
        bundle.load(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "notes.pkl", "hidden.txt2"])
def test_a_pickle_among_the_files_is_refused(name: str, model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    (folder / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match="pickled file lies among"):
        bundle.load(folder)


def test_bundle_json_is_strict(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    good = (folder / "bundle.json").read_text()
    plain = json.loads(good)
    cases = {
        r"in format 2; this one reads up to 1": json.dumps(plain | {"format": 2, "new": 1}),
        r"is not as it was written: hook: there is no such option": json.dumps(plain | {"hook": "x"}),
        r"version 99 of the task text_classification; here is version 1": json.dumps(
            plain | {"task": plain["task"] | {"version": 99}}
        ),
        r"is not a plain path": json.dumps(plain | {"files": {"../x": "0"} | plain["files"]}),
        r"no SHA-256 for \.\./w": json.dumps(plain | {"weights": [{"file": "../w", "after": 0}]}),
        r"settings of text_classification.no are not as they were written: there is no such option": json.dumps(
            plain | {"task": plain["task"] | {"settings": {"no": 1}}}
        ),
        r"there is no backbone called 'pretraned'; did you mean pretrained": json.dumps(
            plain | {"backbone": plain["backbone"] | {"name": "pretraned"}}
        ),
        r"can't be read": "[" * 100_000,
        r"bundle\.json": "{",
    }
    for message, text in cases.items():
        (folder / "bundle.json").write_text(text)
        with pytest.raises(plugin.DanluError, match=message):
            bundle.load(folder)
    (folder / "bundle.json").write_text(good)
    bundle.load(folder)


def test_a_bundle_does_not_choose_what_is_imported(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model.save(tmp_path / "m")
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(folder, task=json.loads((folder / "bundle.json").read_text())["task"] | {"name": "evil_module:Task"})
    with pytest.raises(DataError, match="a model does not choose what is imported"):
        bundle.load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no bundle\.json, so this is no model of Danlu"):
        bundle.load(tmp_path)
