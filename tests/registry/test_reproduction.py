import json
import shutil

import pytest

import danlu
from danlu.core.artifact import Store
from danlu.core.errors import DataError
from danlu.core.events import Events
from danlu.registry import reproduction
from danlu.registry.reproduction import reproduce
from danlu.registry.store import Registry

ROWS = "text,label\n" + "".join(
    f"{word} {k} of them,{label}\n" for k in range(40) for word, label in (("good", "a"), ("bad", "b"))
)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder with the rows, and the store in which a model was made of them."""
    folder = tmp_path_factory.mktemp("reproduced")
    (folder / "rows.csv").write_text(ROWS)
    steps = {
        "data": {"do": "prepare", "source": {"csv": str(folder / "rows.csv")}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": "tfidf_lr"},
        "ship": {"do": "publish", "alias": "production"},
    }
    danlu.run({"name": "rows", "steps": steps}, store=folder / "store", trackers=[])
    return folder


@pytest.fixture
def again(first, tmp_path):
    """Make the version again; the folder with the rows is one's own."""
    registry = Registry(first / "store")
    version = registry.resolve("rows")

    def again(version=version):
        return reproduce(version, registry.open(version), Store(tmp_path / "new"), Events.silent())

    return again


@pytest.fixture
def rows(first):
    yield first / "rows.csv"
    (first / "rows.csv").write_text(ROWS)


def test_the_same_bytes(again, tmp_path):
    told = again()
    assert told["same"] is True
    assert told["forms"] == {"trained": []}
    assert told["steps"] == [{"step": "data", "same": True}, {"step": "tuned", "same": True}]
    assert (told["differs"], told["changed"], told["answers"]) == (None, {}, None)
    assert json.loads(json.dumps(told)) == told
    assert {a.kind for a in Store(tmp_path / "new").artifacts()} == {"dataset", "model"}


def test_a_changed_source_is_named_with_how_far_answers_moved(again, rows):
    rows.write_text(ROWS.replace("bad 3 of", "good 3 of"))
    told = again()
    assert told["same"] is False
    assert told["differs"]["step"] == "data"
    assert "dataset.json" in told["differs"]["files"]
    assert told["changed"]["files that data names"][1] == str(rows)
    assert "rows of the source (digest)" in told["changed"]
    assert told["answers"]["greatest"] > 0
    assert told["forms"]["trained"]


def test_an_input_that_is_gone_is_named(again, rows, tmp_path):
    rows.unlink()
    with pytest.raises(DataError, match=r"1 of its inputs can't be read: data\.source\.csv\.\w+ = .*rows\.csv"):
        again()
    assert not (tmp_path / "new").exists()


def test_a_library_that_changed_is_named(again, monkeypatch):
    real = reproduction.facts()
    monkeypatch.setattr(
        reproduction, "facts", lambda: real | {"threads": 99, "libraries": real["libraries"] | {"torch": "0.1"}}
    )
    told = again()
    assert told["changed"] == {
        "threads": [real["threads"], 99], "torch": [real["libraries"]["torch"], "0.1"],
    }  # fmt: skip


def test_only_the_writer_differs(first, again, tmp_path):
    """A version written by another Danlu counts as the same when all else is."""
    registry = Registry(first / "store")
    version = registry.resolve("rows")
    folder = tmp_path / "older"
    shutil.copytree(registry.open(version), folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    bundle = json.loads((folder / "trained/bundle.json").read_text())
    (folder / "trained/bundle.json").write_text(json.dumps(bundle | {"danlu": "0.0"}))
    assert reproduction._only_writer(folder / "trained/bundle.json", registry.open(version) / "trained/bundle.json")
    (folder / "trained/bundle.json").write_text(json.dumps(bundle | {"danlu": "0.0", "format": 0}))
    assert not reproduction._only_writer(folder / "trained/bundle.json", registry.open(version) / "trained/bundle.json")


def test_a_version_without_a_record_of_its_steps(registry, model):
    version = registry.publish("bare", model(), metadata={})
    with pytest.raises(DataError, match="bare@1 has no record of the steps"):
        reproduce(version, registry.open(version), Store(registry.store), Events.silent())


def test_nothing_of_the_first_time_is_reused(again, monkeypatch):
    """A planted step that is not exact is found: the same recipe, another result."""
    from danlu.plugins.sources.csv import CSV

    real = CSV.rows
    monkeypatch.setattr(CSV, "rows", lambda self, split="": [batch.slice(0, 60) for batch in real(self, split)])
    told = again()
    assert (told["same"], told["differs"]["step"]) == (False, "data")
    assert "files that data names" not in told["changed"]
