"""A tune from its first baseline to the recipe of the winner: what it reads, what it keeps, how it goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

import danlu
from danlu.blocks import dataset
from danlu.core import assets, machine, runs
from danlu.core.artifact import Store
from danlu.core.errors import RecipeError
from danlu.tuning import search, trial

pytest.importorskip("optuna")

DIGITS = {
    "name": "tiny-digits",
    "steps": {
        "data": {"do": "prepare", "source": "digits", "task": "image_classification", "operators": ["drop_duplicates"]},
        "tuned": {"do": "finetune", "backbone": {"mlp": {"size": "tiny"}}, "steps": 24, "precision": "fp32"},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
    },
}


@pytest.fixture(scope="module", autouse=True)
def one_after_another():
    """Candidates are tried one at a time also where there are many cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "physical_cores", lambda: 2)
        yield


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Two candidates, in a folder of their own; `(tuned, store, folder, what was read before the last look)`."""
    folder = tmp_path_factory.mktemp("tuned")
    read, before = [], []
    original = dataset.pq.read_table, dataset.pq.ParquetFile
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    for name, real in zip(("read_table", "ParquetFile"), original, strict=True):
        patch.setattr(dataset.pq, name, lambda path, *a, real=real, **k: read.append(path.name) or real(path, *a, **k))

    def heard(event):
        if event.kind == "note" and "test rows, once" in event.data["text"]:
            before.extend(read)

    store = Store(folder / "store")
    try:
        danlu.run({**DIGITS, "steps": {"data": DIGITS["steps"]["data"]}}, store=store.path, trackers=[])
        read.clear()
        tuned = danlu.tune(DIGITS, minutes=5, trials=2, store=store.path, listeners=[heard])
    finally:
        patch.undo()
    return tuned, store, folder, before, read


def test_baselines_come_first_and_all_are_judged_with_intervals(told):
    table = sorted(told[0].table(), key=lambda one: one["number"])
    assert [one["role"] for one in table] == ["baseline", "trial", "trial"]
    assert [one["what"].split(",")[0] for one in table] == ["majority", "mlp tiny", "mlp tiny"]
    for one in table:
        score = one["metrics"]["accuracy"]
        assert score["low"] <= score["value"] <= score["high"]
        assert one["seconds"] > 0
        assert one["size_mb"] > 0
        assert one["latency_ms"] > 0
    assert told[0].best["what"].startswith("mlp")


def test_the_test_rows_are_read_at_the_end_alone(told):
    _, _, _, before, read = told
    assert "validation.parquet" in before
    assert "test.parquet" not in before
    assert "test.parquet" in read  # so that the listening itself is known to work


def test_the_recipe_that_is_written_reuses_the_winner_and_gives_its_figure(told):
    tuned, store, folder, *_ = told
    assert tuned.recipe == folder / "tiny-digits.tuned.yaml"
    written = YAML(typ="safe").load(tuned.recipe.read_text())
    assert list(written["steps"]) == ["data", "tuned", "score"]
    again = danlu.run(tuned.recipe, store=store.path, trackers=[])
    assert set(again.reused) == {"data", "tuned", "score"}
    assert accuracy(again) == tuned.test["accuracy"]["value"]


def test_the_recipe_that_is_written_trains_to_the_reported_figure_in_an_empty_store(told, tmp_path):
    tuned, store, *_ = told
    again = danlu.run(tuned.recipe, store=tmp_path / "empty", trackers=[])
    assert again.reused == ()
    assert len(Store(tmp_path / "empty").artifacts()) == 3
    assert (
        again["tuned"].manifest["key"]
        == danlu.run(tuned.recipe, store=store.path, trackers=[])["tuned"].manifest["key"]
    )
    reported = tuned.test["accuracy"]
    assert reported["low"] <= accuracy(again) <= reported["high"]
    other = danlu.run(tuned.recipe, "tuned.lr=1.0e-6", store=tmp_path / "empty", trackers=[])
    assert accuracy(other) < reported["low"]  # so that the interval is known to tell trainings apart


def accuracy(run):
    return run["score"].json("scores.json")["metrics"]["accuracy"]["value"]


def test_a_finished_tune_is_told_again_and_its_recipe_is_left_as_it_is(told, monkeypatch):
    tuned, store, folder, *_ = told
    monkeypatch.chdir(folder)
    before = tuned.recipe.stat().st_mtime_ns
    again = danlu.tune(DIGITS, minutes=5, trials=2, store=store.path)
    assert again.recipe == tuned.recipe
    assert tuned.recipe.stat().st_mtime_ns == before
    assert [one["number"] for one in again.table()] == [one["number"] for one in tuned.table()]


def test_another_file_of_that_name_is_never_overwritten(told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "tiny-digits.tuned.yaml"
    mine.write_text("mine\n")
    again = danlu.tune(DIGITS, minutes=5, trials=2, store=told[1].path)
    assert mine.read_text() == "mine\n"
    assert again.recipe.name == "tiny-digits.tuned-2.yaml"


def test_the_report_needs_no_network_and_has_the_pictures(told):
    page = told[0].report.read_text()
    assert page.count("<svg") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert told[0].best["what"] in page


def test_a_budget_below_one_trial_says_how_long_one_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial, "_SURE", 0.01)
    with pytest.raises(RecipeError, match=r"0\.12 minutes are too few: one trial takes about .* on this machine"):
        danlu.tune(DIGITS, "tuned.steps=200000", minutes=0.12, store=tmp_path / "store")


def test_a_budget_that_the_baselines_use_up_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def late(event):
        if event.kind == "first_table":
            time.sleep(0.7)

    with pytest.raises(RecipeError, match=r"no time was left for a trial after the baselines\n  → give more minutes"):
        danlu.tune(DIGITS, minutes=0.01, store=tmp_path / "store", listeners=[late])


def test_trials_that_all_fail_are_an_error_with_what_the_last_one_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"every trial failed, the last one so: the loss is nan at step"):
        danlu.tune(DIGITS, "tuned.lr=1.0e+30", minutes=5, trials=1, store=tmp_path / "store")
    assert not (tmp_path / "tiny-digits.tuned.yaml").exists()


def test_data_without_validation_rows_is_refused_with_the_split_to_paste(tmp_path, monkeypatch):
    opened = search.DataSet.open(
        danlu.run({**DIGITS, "steps": {"data": DIGITS["steps"]["data"]}}, store=tmp_path / "store", trackers=[])[
            "data"
        ].path
    )
    bare = replace(opened, info={**opened.info, "rows": {"train": 1000, "validation": 0, "test": 300}})
    monkeypatch.setattr(search.DataSet, "open", lambda path: bare)
    with pytest.raises(
        RecipeError, match=r"there are no validation rows to judge by\n  → data.split='\{validation: 0.1"
    ) as found:
        danlu.tune(DIGITS, minutes=5, store=tmp_path / "store")
    assert found.value.where == "data"


def test_a_recipe_that_trains_nothing_is_refused(tmp_path):
    only = {"name": "x", "steps": {"data": DIGITS["steps"]["data"]}}
    with pytest.raises(RecipeError, match="it has no step that trains"):
        danlu.tune(only, store=tmp_path / "store")


def test_the_usual_baselines_of_texts_come_before_any_candidate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assets, "is_here", lambda asset: False)
    steps = {
        "data": {
            "do": "prepare", "source": {"synthetic": {"kind": "text", "size": 300}}, "task": "text_classification",
        },
        "tuned": {"do": "finetune", "backbone": "majority"},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
    }  # fmt: skip
    found = danlu.tune({"name": "moods", "steps": steps}, minutes=5, trials=1, store=tmp_path / "store")
    tried = sorted(found.table(), key=lambda one: one["number"])
    baselines = [one["what"] for one in tried if one["role"] == "baseline"]
    assert set(baselines) == {"majority", "naive_bayes", "linear_svm", "tfidf_lr", "fasttext"}
    assert baselines[-1] == "fasttext"  # it takes longer than those that count
    assert [one["role"] for one in tried] == ["baseline"] * 5 + ["trial"]
    assert not any("fasttext" in one["what"] for one in tried if one["role"] == "trial")
    [fast] = [one for one in tried if one["what"] == "fasttext"]
    assert fast["metrics"]["accuracy"]["value"] > 0.9  # the rate that it wants, not that of other networks


def test_a_killed_tune_goes_on_with_its_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["tuned.steps=500", "tuned.checkpoint_steps=20", "tuned.batch_size=256"]
    recipe = tmp_path / "d.yaml"
    recipe.write_text(json.dumps(DIGITS))  # JSON is YAML
    command = [sys.executable, "-m", "danlu", "tune", recipe, *options, "--trials", "1", "--store", "store", "--quiet"]
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("store/work/*/step-*")):
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stderr.close()
    found = danlu.tune(recipe, *options, minutes=20, trials=1, store="store")
    assert [one["what"].split(",")[0] for one in found.table()] == ["mlp tiny", "majority"]
    notes = [note for a in Store(tmp_path / "store").artifacts() for note in a.manifest["notes"]]
    assert [note.split(" of ")[1] for note in notes if note.startswith("resumed at step")] == ["500"]


def test_runs_of_trials_have_a_name_of_their_own(told):
    assert {run.name for run in runs.all_runs(told[1].runs)} >= {"tiny-digits.tune"}
