import os
import shutil
import sys
from pathlib import Path

import pytest

from danlu.core import plugin

sys.path.insert(0, str(Path(__file__).parent))
os.environ.pop("COLUMNS", None)  # a parallel test runner says 80; what is printed to a pipe is 120 wide
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # Workers that each run torch on all cores wait for one another: a sixth of their processor time.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
ROOT = Path(__file__).parents[1]
TOYS = Path(__file__).with_name("toys.py")


@pytest.fixture
def strangers(monkeypatch):
    """Plug-ins imported in a test are forgotten after it."""
    monkeypatch.setattr(plugin, "_strangers", {})


@pytest.fixture
def toys(strangers, monkeypatch, tmp_path):
    """The toy plug-ins, known under their names; returns the list of what their stages logged so far."""
    plugin.add_file(TOYS)
    path = tmp_path / "toys.log"
    monkeypatch.setenv("TOY_LOG", str(path))
    return lambda: path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A folder with a tiny random BERT and its tokenizer; see `tiny_models`."""
    from tiny_models import write_tiny_bert

    return write_tiny_bert(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """The shipped recipe `digits`, run once through every stage. Who changes its store takes `digits_store`."""
    import danlu

    store = tmp_path_factory.mktemp("digits") / "store"
    return danlu.run(ROOT / "recipes" / "digits.yaml", store=store, trackers=[])


@pytest.fixture
def digits_store(digits_run, tmp_path):
    """A store of one's own in which `digits` was run and published."""
    return shutil.copytree(digits_run.store.path, tmp_path / "digits-store")


@pytest.fixture(scope="session")
def moods_run(tmp_path_factory):
    """A store with two versions of `moods`: the first gives the commonest label, the second reads the words."""
    import danlu

    store = tmp_path_factory.mktemp("moods") / "store"
    steps = {
        "data": {
            "do": "prepare",
            "source": {"synthetic": {"kind": "text", "size": 400}},
            "task": "text_classification",
        },
        "tuned": {"do": "finetune", "backbone": "majority"},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
        "ship": {"do": "publish", "alias": "production", "require": {"accuracy": ">= 0"}},
    }
    for backbone in ("majority", "tfidf_lr"):
        steps["tuned"]["backbone"] = backbone
        danlu.run({"name": "moods", "steps": steps}, store=store, trackers=[])
    return store


@pytest.fixture
def moods(moods_run, tmp_path):
    """A copy of that store of one's own."""
    return shutil.copytree(moods_run, tmp_path / "moods-store")


@pytest.fixture(scope="session")
def methods_run(tmp_path_factory, tiny_bert):
    """A run with three models of one data set: a tiny encoder trained by `full` and by `lora`, and counted words."""
    import danlu

    tuned = {"do": "finetune", "backbone": {"pretrained": str(tiny_bert)}, "steps": 2}
    recipe = {
        "name": "three",
        "steps": {
            "data": {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 300}}, "task": "text_classification"},
            "full": tuned,
            "lora": tuned | {"method": "lora"},
            "words": {"do": "finetune", "backbone": "tfidf_lr"},
        },
    }  # fmt: skip
    return danlu.run(recipe, store=tmp_path_factory.mktemp("methods") / "store", trackers=[])


@pytest.fixture
def methods_run_id(methods_run):
    """The id of that run: the first of its store, whatever other tests have run there since."""
    from danlu.core.runs import all_runs

    return all_runs(methods_run.store.runs)[-1].id
