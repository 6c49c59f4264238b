import io
import json
import os
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import onnx_ml_pb2
from safetensors.numpy import save

from danlu.core.errors import DataError
from danlu.registry.content import check_folder
from danlu.registry.formats import _CHECKS, _ONNX_PARTS, check_format


class Gadget:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("true",)


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Gadget()))
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.array([Gadget()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


EVIL = {
    **{f"pickle protocol {k}": pickle.dumps(Gadget(), protocol=k) for k in range(6)},
    "optimised pickle": pickletools.optimize(pickle.dumps(Gadget())),
    "zip (torch.save)": archive(),
    "npy": npy(),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
    "elf": b"\x7fELF" + bytes(60),
    "empty": b"",
}


def test_a_real_model_of_every_format_is_accepted(model):
    folder = model()
    (folder / "samples.jsonl").write_text('{"step": 1, "answer": "a\u2028b"}\n{}\n', encoding="utf-8")
    names = check_folder(folder)
    assert {Path(name).suffix for name in names} == set(_CHECKS)
    assert len(names) == 11


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl", "model.pickle", "model.joblib", "weights.npy",
        "weights.npz", "spiece.model", "modeling.py", "model.onnx_data", "model.onnx.data", "model.h5", "model.zip", "model.gguf",
        "LICENSE", ".json", "model.safetensors.pkl", "model.JSON", "run.sh", "lib.so", "data.parquet", "model.msgpack",
    ],
)  # fmt: skip
def test_other_formats_are_refused_by_name_whatever_is_in_them(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match="is not accepted: only safetensors, ONNX") as caught:
        check_format(tmp_path / name, name)
    assert name in str(caught.value)
    assert "accepted: .csv .html .jinja .json .jsonl .md .onnx .safetensors .svg .txt .yaml" in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model.onnx"])
@pytest.mark.parametrize("kind", EVIL)
def test_a_pickle_or_archive_under_an_accepted_name_is_refused(tmp_path, name, kind):
    (tmp_path / name).write_bytes(EVIL[kind])
    with pytest.raises(DataError, match=f"{name} is not what its name says"):
        check_folder(tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in EVIL if kind != "empty"])
def test_every_line_of_json_lines_is_json(tmp_path, kind):
    (tmp_path / "samples.jsonl").write_bytes(b"{}\n" + EVIL[kind])
    with pytest.raises(DataError, match=r"samples.jsonl is not what its name says"):
        check_folder(tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in EVIL if kind not in ("pickle protocol 0", "empty")])
def test_binary_is_no_text(tmp_path, kind):
    """A pickle of protocol 0 is text, and as text it is harmless."""
    (tmp_path / "vocab.txt").write_bytes(EVIL[kind])
    with pytest.raises(DataError, match=r"vocab.txt is not what its name says"):
        check_folder(tmp_path)


GOOD = save({"a": np.arange(4, dtype=np.float32), "b": np.zeros((2, 0))})


def altered(**changes):
    length = struct.unpack("<Q", GOOD[:8])[0]
    header = json.loads(GOOD[8 : 8 + length])
    for tensor, change in changes.items():
        header[tensor] = {**header.get(tensor, {"dtype": "F32", "shape": [1]}), **change}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + GOOD[8 + length :]


@pytest.mark.parametrize(
    "content",
    [
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:7],
        struct.pack("<Q", 2**63) + GOOD[8:],
        struct.pack("<Q", 100_000_001) + GOOD[8:],
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a":[]}\x80',
        struct.pack("<Q", 15) + b'{"a":{},"a":{}}',
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        altered(a={"data_offsets": [0, 8]}),
        altered(a={"data_offsets": [0, 32]}),
        altered(a={"data_offsets": [16, 0]}),
        altered(a={"data_offsets": [0]}),
        altered(a={"dtype": 7}),
        altered(a={"shape": [-1]}),
        altered(c={"data_offsets": [0, 16]}),
    ],
)
def test_a_safetensors_file_that_is_not_whole_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"model.safetensors is not what its name says"):
        check_folder(tmp_path)


def test_a_tensor_that_stands_twice_in_the_header_is_refused(tmp_path):
    """Readers differ in which of the two they take."""
    header = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}'
    )
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(DataError, match="a name stands twice in the header"):
        check_folder(tmp_path)


def test_a_header_above_the_limit_is_not_even_read(tmp_path):
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(100_000_100)  # a sparse file: it takes no space
    with pytest.raises(DataError, match="its length is impossible"):
        check_folder(tmp_path)


def test_safetensors_with_metadata_and_without_tensors_are_accepted(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(save({"a": np.ones(3)}, metadata={"format": "pt"}))
    (tmp_path / "b.safetensors").write_bytes(save({}))
    assert len(check_folder(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"{", b"nan", b"{}\0", b"\xff\xfe{}", b"[" * 200_000, b""])
def test_broken_json_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DataError, match=r"config.json is not what its name says"):
        check_folder(tmp_path)


def external(how):
    """A tensor that points out of its file: by location and path, by path alone, by a padded spelling of the location."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1])
    if how != "path alone":
        tensor.data_location = onnx.TensorProto.EXTERNAL
    if how != "location alone":
        tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def hide(tensor, where):
    model = onnx.ModelProto(ir_version=8)
    graph = model.graph
    graph.name = "g"
    node = graph.node.add(op_type="Constant")
    if where == "initializer":
        graph.initializer.append(tensor)
    elif where == "sparse":
        graph.sparse_initializer.add().indices.CopyFrom(tensor)
    elif where == "attribute":
        node.attribute.add(name="value").t.CopyFrom(tensor)
    elif where == "list":
        node.attribute.add(name="values").tensors.append(tensor)
    elif where == "branch":
        node.attribute.add(name="then").g.initializer.append(tensor)
    elif where == "branches":
        node.attribute.add(name="all").graphs.add().initializer.append(tensor)
    elif where == "sparse attribute":
        node.attribute.add(name="s").sparse_tensor.values.CopyFrom(tensor)
    elif where == "sparse list":
        node.attribute.add(name="s").sparse_tensors.add().values.CopyFrom(tensor)
    elif where == "function":
        model.functions.add(name="f").node.add(op_type="Constant").attribute.add(name="value").t.CopyFrom(tensor)
    elif where == "default":
        model.functions.add(name="f").attribute_proto.add(name="value").t.CopyFrom(tensor)
    elif where == "training":
        model.training_info.add().initialization.initializer.append(tensor)
    elif where == "algorithm":
        model.training_info.add().algorithm.initializer.append(tensor)
    return model.SerializeToString()


HIDING_PLACES = [
    "initializer", "sparse", "attribute", "list", "branch", "branches", "sparse attribute", "sparse list", "function", "default",
    "training", "algorithm",
]  # fmt: skip


@pytest.mark.parametrize("how", ["both", "path alone", "location alone"])
@pytest.mark.parametrize("where", HIDING_PLACES)
def test_onnx_with_weights_in_another_file_is_refused(tmp_path, where, how):
    (tmp_path / "model.onnx").write_bytes(hide(external(how), where))
    with pytest.raises(DataError, match="its weights are in another file"):
        check_folder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(
        hide(onnx.TensorProto(name="w", data_type=1, dims=[1], raw_data=bytes(4)), where)
    )
    assert check_folder(tmp_path) == ["model.onnx"]


def test_onnx_location_in_a_padded_spelling_is_refused(tmp_path):
    """Protobuf reads 0x81 0x00 as 1 too."""
    plain = hide(onnx.TensorProto(name="w", doc_string="@@"), "initializer")
    evil = plain.replace(b"\x62\x02@@", b"\x70\x81\x80\x00")
    assert onnx.ModelProto.FromString(evil).graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
    (tmp_path / "model.onnx").write_bytes(evil)
    with pytest.raises(DataError, match="its weights are in another file"):
        check_folder(tmp_path)


def test_onnx_cut_short_is_refused(model, tmp_path):
    content = (model() / "onnx/model.onnx").read_bytes()
    for length in range(1, len(content)):
        (tmp_path / "m.onnx").write_bytes(content[:length])
        try:
            check_format(tmp_path / "m.onnx", "m.onnx")
        except DataError:
            continue
        assert onnx.ModelProto.FromString(content[:length]).HasField("graph")  # cut between two fields


def reachable(message, seen):
    """The messages of the ONNX format from which a tensor can be reached, found in onnx itself."""
    types = onnx_ml_pb2.DESCRIPTOR.message_types_by_name
    if message in seen:
        return seen
    seen[message] = {
        f.number: f.message_type.name for f in types[message].fields if f.message_type and f.message_type.name in types
    }
    for part in list(seen[message].values()):
        reachable(part, seen)
    return seen


def test_the_table_of_onnx_messages_is_complete():
    found = reachable("ModelProto", {})
    leads = {"TensorProto"}
    while True:
        more = {message for message, parts in found.items() if leads & set(parts.values())} - leads
        if not more:
            break
        leads |= more
    expected = {m: {k: part for k, part in found[m].items() if part in leads} for m in leads}
    assert expected == _ONNX_PARTS
