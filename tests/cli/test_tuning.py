"""`danlu tune` on the command line: what it prints, and to whom."""

import json

import pytest

RECIPE = {
    "name": "d",
    "steps": {
        "data": {"do": "prepare", "source": "digits", "task": "image_classification", "operators": ["drop_duplicates"]},
        "tuned": {"do": "finetune", "backbone": {"mlp": {"size": "tiny"}}, "steps": 20},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
    },
}


def test_a_tune_prints_its_table_its_advice_and_where_all_lies(danlu, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.yaml").write_text(json.dumps(RECIPE))
    said = danlu("tune", "d.yaml", "--minutes", 5, "--trials", 1, "--store", "s")
    assert said.code == 0
    assert "accuracy on the validation rows" in said.out
    assert "majority" in said.out
    assert "on the test rows, looked at once: accuracy 0." in said.out
    assert "next:    danlu run" in said.out
    assert "d.tuned.yaml" in said.out
    assert "mlp tiny, full" in said.err

    told = danlu("tune", "d.yaml", "--minutes", 5, "--trials", 1, "--store", "s", "--json").json
    assert told["metric"] == "accuracy"
    assert [one["role"] for one in told["trials"]] == ["trial", "baseline"]
    assert told["test"]["accuracy"]["low"] < told["test"]["accuracy"]["value"] < told["test"]["accuracy"]["high"]


def test_far_more_jobs_than_cores_are_refused_before_any_process(danlu, tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "d.yaml").write_text(json.dumps(RECIPE))
    said = danlu("tune", tmp_path / "d.yaml", "--jobs", 100_000, "--store", tmp_path / "s")
    assert (said.code, "--jobs: 100,000 candidates at once do not suit" in said.err) == (2, True)
    assert not (tmp_path / "s").exists()


def test_advice_is_a_table_or_json(danlu, tmp_path):
    (tmp_path / "d.yaml").write_text(json.dumps(RECIPE))
    said = danlu("advise", tmp_path / "d.yaml")
    assert said.code == 0
    assert "mlp tiny" in said.out
    assert "tuned.method=full" in said.out
    told = danlu("advise", tmp_path / "d.yaml", "--json").json
    assert [one["about"] for one in told["advice"]] == ["backbone", "method", "time", "memory"]
    assert told["data"]["rows"] == 1797


def test_a_recipe_with_a_fault_is_told_as_by_check(danlu, tmp_path):
    (tmp_path / "d.yaml").write_text(json.dumps(RECIPE))
    said = danlu("tune", tmp_path / "d.yaml", "tuned.epoch=3")
    assert said.code == 2
    assert "tuned.epoch" in said.err
