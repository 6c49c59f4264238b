import json
import shutil

import pyarrow.csv as pa_csv
import pytest

from danlu.core.artifact import Store
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events
from danlu.registry import comparison
from danlu.registry.comparison import Side, compare, missed_gates, rows_of
from danlu.registry.comparison import test_rows as rows_for_test


def told(store, first="moods@1", second="moods@2", rows=None):
    sides = [Side.open(reference, Store(store)) for reference in (first, second)]
    return compare(*sides, rows or rows_for_test(sides[1]), latency=False, seed=0, events=Events.silent())


@pytest.fixture(scope="module")
def better(moods_run):
    return told(moods_run)


def test_differences_are_paired_and_count_the_rows(better):
    gap, test = better["metrics"]["accuracy"], better["mcnemar"]
    gained, lost, rows = better["gained"]["rows"], better["lost"]["rows"], better["data"]["rows"]
    assert gap["value"] == pytest.approx((gained - lost) / rows)
    assert (gap["verdict"], gap["low"] > 0) == ("better", True)
    assert gap["value"] == pytest.approx(
        better["second"]["metrics"]["accuracy"]["value"] - better["first"]["metrics"]["accuracy"]["value"]
    )
    assert test["exact"] < 1e-6
    assert json.loads(json.dumps(better)) == better


def test_examples_are_few_and_true(better):
    examples = better["gained"]["examples"]
    assert 0 < len(examples) <= 10
    for example in examples:
        assert example["after"] == example["gold"] != example["before"]
        assert len(example["input"]) <= 162


def test_what_was_done_differently(better):
    changed = better["changed"]
    assert changed["data"] == {}
    assert {name: pair for name, pair in changed["settings"].items() if "backbone" in name}
    assert all(name.startswith("tuned.") for name in changed["settings"])


def test_the_same_version_is_neither_better_nor_worse(moods_run):
    same = told(moods_run, "moods@2", "moods@2")
    assert same["metrics"]["accuracy"] == {
        "value": 0.0, "low": 0.0, "high": 0.0, "better": "higher", "verdict": "no clear difference",
    }  # fmt: skip
    assert (same["gained"]["rows"], same["lost"]["rows"], same["mcnemar"]["exact"]) == (0, 0, 1.0)
    assert missed_gates(same, ["worse", "accuracy < 0"]) == []


def test_gates(better, moods_run):
    assert missed_gates(better, ["worse", "accuracy < -0.01"]) == []
    worse = told(moods_run, "moods@2", "moods@1")
    assert worse["metrics"]["accuracy"]["verdict"] == "worse"
    (said,) = missed_gates(worse, ["worse"])
    assert said.startswith("accuracy differs by -0.")
    (said,) = missed_gates(worse, ["accuracy<-0.01"])
    assert said.endswith("which is < -0.01")
    for condition in ("bad", "accuracy", "speed < 1", "accuracy < x", "accuracy < 1 or true"):
        with pytest.raises(RecipeError, match="no condition on a difference"):
            missed_gates(better, [condition])


def test_rows_that_were_learnt_are_left_out_and_counted(moods_run, tmp_path):
    place = Store(moods_run)
    side = Side.open("moods@2", place)
    data = side.trained_on
    table = data.table("test").slice(0, 20)
    learnt = data.table("train").slice(0, 7)
    for part, name in ((table, "new.csv"), (learnt, "old.csv")):
        pa_csv.write_csv(part, tmp_path / name)
    (tmp_path / "both.csv").write_text(
        (tmp_path / "new.csv").read_text() + "".join((tmp_path / "old.csv").read_text().splitlines(True)[1:])
    )
    found = told(moods_run, rows=rows_of(str(tmp_path / "both.csv"), side, place))
    assert found["data"] == {
        "source": str(tmp_path / "both.csv"), "rows": 20, "trained_on_the_same": True,
        "learnt": {"moods@1": 7, "moods@2": 7}, "left_out": 7,
    }  # fmt: skip
    with pytest.raises(DataError, match="every row was a training row"):
        told(moods_run, rows=rows_of(str(tmp_path / "old.csv"), side, place))


def test_data_that_is_gone_is_said_and_other_rows_are_asked_for(moods, tmp_path):
    side = Side.open("moods@2", Store(moods))
    folder = tmp_path / "kept"
    shutil.copytree(side.trained_on.folder, folder)
    for artifact in Store(moods).artifacts():
        if artifact.kind == "dataset":
            shutil.rmtree(artifact.path)
    with pytest.raises(DataError, match="is not in the store any more"):
        rows_for_test(Side.open("moods@2", Store(moods)))
    sides = [Side.open(f"moods@{k}", Store(moods)) for k in (1, 2)]
    rows = rows_of(str(folder), sides[1], Store(moods))
    found = compare(*sides, rows, latency=False, seed=0, events=Events.silent())
    assert found["data"]["learnt"] == {"moods@1": None, "moods@2": None}


def test_rows_that_cannot_be_read(moods_run, tmp_path):
    side = Side.open("moods@2", Store(moods_run))
    (tmp_path / "a.exe").write_text("x")
    with pytest.raises(RecipeError, match=r"no source reads a file that ends in \.exe"):
        rows_of(str(tmp_path / "a.exe"), side, Store(moods_run))
    (tmp_path / "a.csv").write_text("other,label\nx,y\n")
    with pytest.raises(DataError, match="it has no column 'text', only other, label"):
        rows_of(str(tmp_path / "a.csv"), side, Store(moods_run))
    with pytest.raises(RecipeError, match="there is no artifact 'nothing'"):
        rows_of("nothing", side, Store(moods_run))


def test_other_questions_are_not_compared(moods, digits_store, monkeypatch):
    sides = [Side.open("digits", Store(digits_store)), Side.open("moods@2", Store(moods))]
    with pytest.raises(RecipeError, match="they answer different questions"):
        compare(*sides, rows_for_test(sides[1]), latency=False, seed=0, events=Events.silent())


def test_a_planted_unpaired_difference_is_seen(moods_run, monkeypatch):
    """The same version against itself has no difference at all; two draws of rows that differ would give one."""
    real, seeds = comparison.judging.score_all, iter((1, 2))
    monkeypatch.setattr(comparison.judging, "score_all", lambda *values, seed: real(*values, seed=next(seeds)))
    gap = told(moods_run, "moods@1", "moods@1")["metrics"]["accuracy"]
    assert gap["low"] < 0 < gap["high"]
