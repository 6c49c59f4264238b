import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from danlu.core.errors import MachineError, RecipeError
from danlu.core.plugin import lazy
from danlu.plugins.sources import hub
from danlu.plugins.sources.hub import Hub

datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
COMMIT = "0123456789" * 4


def conforming(folder):
    write(folder / "set", train=["warm", "cold"], test=["mild"])
    return {"hub": {"id": str(folder / "set")}}


def write(folder, **splits):
    folder.mkdir()
    for name, texts in splits.items():
        pq.write_table(pa.table({"text": texts}), folder / f"{name}-00000-of-00001.parquet")
    return Hub(id=str(folder))


def rows(source, split=""):
    return pa.Table.from_batches(source.rows(split)).column("text").to_pylist()


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_folder_through_the_same_library(tmp_path):
    source = write(tmp_path / "set", train=["warm", "cold"], test=["mild"])
    assert source.splits() == ("test", "train")
    assert rows(source) == ["mild", "warm", "cold"]
    assert rows(source, "train") == ["warm", "cold"]
    with pytest.raises(RecipeError, match="no split 'validation'; it has: test, train"):
        rows(source, "validation")
    before = source.fingerprint()
    pq.write_table(pa.table({"text": ["hot"]}), tmp_path / "set" / "train-00000-of-00001.parquet")
    assert source.fingerprint() != before


def test_classes_come_as_their_names(tmp_path):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    made = datasets.Dataset.from_dict({"text": ["warm", "cold", "?"], "label": [1, 0, None]}, features=features)
    (tmp_path / "set").mkdir()
    made.to_parquet(tmp_path / "set" / "train.parquet")
    table = pa.Table.from_batches(Hub(id=str(tmp_path / "set")).rows())
    assert table.column("label").to_pylist() == ["good", "bad", None]


def test_a_name_on_the_hub_is_pinned_and_offline_says_so():
    with pytest.raises(ValidationError, match="needs `revision`, the 40 digits of a commit"):
        Hub(id="org/name", revision="main")
    with pytest.raises(MachineError, match=r"org/name: the data set can't be read(.|\n)*`parquet`"):
        rows(Hub(id="org/name", revision=COMMIT))


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(hub, "_datasets", lazy("no_such_datasets", extra="hub"))
    with pytest.raises(MachineError, match=r"not installed\n.*danlu\[hub\]"):
        rows(Hub(id="org/name", revision=COMMIT))
