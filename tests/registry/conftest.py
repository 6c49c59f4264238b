import json
import struct

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from danlu.registry.store import Registry


def write_model(folder, text="first"):
    """A folder with one file of every accepted format, as real libraries write them."""
    if folder.exists():
        return folder
    (folder / "onnx").mkdir(parents=True)
    save_file(
        {"weight": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(3)}, folder / "model.safetensors"
    )
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2, 2], struct.pack("4f", 1, 2, 3, 4), raw=True)
    arrays = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 2]) for name in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", arrays[:1], arrays[1:], [weight]
    )
    onnx.save(onnx.helper.make_model(graph), folder / "onnx/model.onnx")
    (folder / "bundle.json").write_text(json.dumps({"format": 1, "text": text}))
    for name in (
        "vocab.txt",
        "README.md",
        "report.html",
        "chat_template.jinja",
        "recipe.yaml",
        "rows.csv",
        "curve.svg",
    ):
        (folder / name).write_text(f"{name} 丹炉\n", encoding="utf-8")
    return folder


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "store")


@pytest.fixture
def model(tmp_path):
    """Make a folder whose content follows from a text."""
    return lambda text="first": write_model(tmp_path / f"model-{text}", text)


@pytest.fixture
def publish(registry, model):
    """Publish versions of `reviews` with the given texts."""

    def publish(*texts, name="reviews"):
        folders = [model(f"{name}-{text}") for text in texts]
        return [registry.publish(name, folder, metadata={"n": k}) for k, folder in enumerate(folders, 1)]

    return publish
