"""A published version answers the same through `mlflow.pyfunc`, and no file of it is a pickle."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import danlu
from danlu.blocks import mlflow_model
from danlu.core.errors import DataError, RecipeError
from danlu.registry.store import Registry

TEXTS = ["Is there a soup without a bread?", "She wrote a letter about a goal and an old coach.", ""]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("mlflow") / "store"
    steps = {
        "data": {"do": "prepare", "source": {"synthetic": {"size": 200}}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": "tfidf_lr"},
        "ship": {"do": "publish", "alias": "production"},
    }
    danlu.run({"name": "try", "steps": steps}, store=place, trackers=[])
    return place


def version_folder(store):
    registry = Registry(store)
    return registry.open(registry.resolve("try"))


def test_the_same_answers_without_a_pickle(store, tmp_path):
    import mlflow.pyfunc
    import numpy as np
    import pandas as pd

    wanted = danlu.load("try", store=store).predict(TEXTS)
    out = mlflow_model.save(version_folder(store), tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(out))
    frames = (pd.DataFrame({"text": TEXTS}), pd.DataFrame({"text": TEXTS, "id": [1, 2, 3]}), pd.DataFrame({"x": TEXTS}))
    for given in (TEXTS, *frames, frames[0]["text"], np.array(TEXTS)):
        assert model.predict(given) == wanted
    assert model.predict(TEXTS[0]) == wanted[:1]
    with pytest.raises(DataError, match="the input has the columns a, b; the model asks for text"):
        model.predict(pd.DataFrame({"a": TEXTS, "b": TEXTS}))
    with pytest.raises(DataError, match="a text must be a string, not int"):
        model.predict([7])
    names = sorted(path.name for path in out.rglob("*") if path.is_file())
    assert {"MLmodel", "bundle.json", "model.safetensors"} <= set(names)
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".cloudpickle", ".pt", ".bin"))]
    assert "python_model" not in (out / "MLmodel").read_text()
    assert f"danlu[mlflow]=={importlib.metadata.version('danlu')}" in (out / "requirements.txt").read_text()


def test_a_process_of_its_own_answers(store, tmp_path):
    out = mlflow_model.save(version_folder(store), tmp_path / "model", form="trained")
    code = f"import mlflow.pyfunc; print(mlflow.pyfunc.load_model({str(out)!r}).predict({TEXTS!r})[0]['label'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == danlu.load("try", store=store).predict(TEXTS)[0]["label"]


def test_nothing_is_overwritten_and_nothing_is_left(store, tmp_path):
    folder = version_folder(store)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(RecipeError, match="left as it is"):
        mlflow_model.save(folder, tmp_path / "full")
    with pytest.raises(DataError, match="there is no form 'int9'"):
        mlflow_model.save(folder, tmp_path / "new", form="int9")
    with pytest.raises(DataError, match="no model of Danlu"):
        mlflow_model.save(tmp_path, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
    (tmp_path / "empty").mkdir()
    assert (mlflow_model.save(folder, tmp_path / "empty") / "MLmodel").is_file()
