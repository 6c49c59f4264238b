"""Run a stage on artifacts as a plan does, and sources that give the rows they are told."""

from __future__ import annotations

import secrets
import shutil
from typing import Any

import pyarrow as pa
import pytest

from danlu.bundle import Forms
from danlu.contracts import Source
from danlu.core.artifact import Store
from danlu.core.events import Events
from danlu.core.plugin import name_of
from danlu.stages.compress import Compress
from danlu.stages.evaluate import Evaluate
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare


class Given(Source):
    """Rows as they are given; a mapping of splits when the source brings its own."""

    table: Any

    def splits(self):
        return tuple(self.table) if not isinstance(self.table, list) else ()

    def rows(self, split=""):
        rows = self.table[split] if split else self.table
        return pa.Table.from_pylist(rows).to_batches() if rows else []

    def plain(self):
        return {"given": {}}


def run_stage(store, stage, heard=None, **inputs):
    """The artifact of a stage. Nothing is left when it raises, as in a plan."""
    told = {
        n: {"key": a.key, "digest": a.digest, "kind": a.kind, "step": a.manifest["step"]} for n, a in inputs.items()
    }
    name = name_of(type(stage))
    about = {"kind": stage.makes, "step": f"my_{name}", "stage": name, "inputs": told}
    settings = {field: str(getattr(stage, field)) for field in type(stage).model_fields}
    draft = store.draft(secrets.token_hex(32), settings=settings, **about)
    try:
        stage.run(inputs, draft, Events([heard.append] if heard is not None else [], name))
    except BaseException:
        draft.abandon()
        raise
    return draft.commit()


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def heard():
    """What was said on the events of the last stage that ran."""
    return []


@pytest.fixture
def run(store, heard):
    def run(stage, **inputs):
        heard.clear()
        return run_stage(store, stage, heard, **inputs)

    return run


@pytest.fixture
def given():
    return lambda rows: Given(table=rows)


@pytest.fixture(scope="session")
def digits(store):
    """The digits, and a small network trained on them for a second: `(dataset, model)`."""
    data = run_stage(store, Prepare(source="digits", task="image_classification", operators=("drop_duplicates",)))
    tuned = Finetune(backbone={"cnn": "tiny"}, steps=120, batch_size=64, lr=0.004, precision="fp32")
    return data, run_stage(store, tuned, dataset=data)


@pytest.fixture(scope="session")
def texts(store):
    """Made-up sentences, a tenth of them labelled wrongly, and logistic regression on them: `(dataset, model)`."""
    source = {"synthetic": {"kind": "text", "size": 1200, "noise": 0.1}}
    data = run_stage(store, Prepare(source=source, task="text_classification", split={"near": None}))
    return data, run_stage(store, Finetune(backbone="tfidf_lr"), dataset=data)


@pytest.fixture
def remade(store, tmp_path):
    """A model artifact with some of another one's forms, changed by `change(folder)` before it is committed."""

    def remade(model, change):
        draft = store.draft(secrets.token_hex(32), kind="model", step="remade", stage="remade")
        forms = Forms.open(model.path)
        for name in forms.names:
            shutil.copytree(model.path / name, draft.path / name)
        specs, default = change(draft.path, dict(forms.specs))
        Forms.write(draft.path, specs, default)
        return draft.commit()

    return remade


@pytest.fixture(scope="session")
def small(store, digits):
    """The digits' model with its ONNX and int8 forms."""
    data, model = digits
    return run_stage(store, Compress(budget={"max_drop": {"accuracy": 0.02}}), dataset=data, model=model)


@pytest.fixture(scope="session")
def scored(store, digits, small):
    """How the digits' model does, beside the majority class."""
    return run_stage(store, Evaluate(metrics=("accuracy", "f1", "confusion")), dataset=digits[0], model=small)
