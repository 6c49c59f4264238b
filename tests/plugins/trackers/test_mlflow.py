"""What MLflow reads back of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import danlu
from danlu.core.errors import MachineError
from danlu.core.events import Event
from danlu.plugins.trackers.mlflow import MLflow


def conforming(folder):
    return {"mlflow": {"uri": str(folder / "mlruns")}}


def read(folder):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.absolute().as_uri())
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return client, run


def test_a_published_run_is_read_back(tmp_path):
    steps = {
        "data": {"do": "prepare", "source": {"synthetic": {"size": 200}}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": {"tfidf_lr": {"c": 5.0}}},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
        "ship": {"do": "publish"},
    }
    tracker = {"mlflow": {"uri": str(tmp_path / "mlruns"), "experiment": "mine"}}
    done = danlu.run({"name": "try", "steps": steps}, store=tmp_path / "store", trackers=[tracker])
    client, run = read(tmp_path / "mlruns")
    assert client.get_experiment(run.info.experiment_id).name == "mine"
    assert (run.info.status, run.data.tags["danlu.version"]) == ("FINISHED", "try@1")
    assert run.data.tags["danlu.tuned.digest"] == done["tuned"].digest
    assert run.data.tags["danlu.run"] == run.info.run_name
    assert run.data.params["tuned.backbone.tfidf_lr.c"] == "5.0"
    assert run.data.params["data.source.synthetic.kind"] == "text"
    assert run.data.metrics["score/result/accuracy"] == done["score"].numbers["accuracy"]
    shown = [file.path for step in ("score", "ship") for file in client.list_artifacts(run.info.run_id, step)]
    assert shown == ["score/report.html", "score/scores.json", "ship/card.html", "ship/card.md"]
    card = client.download_artifacts(run.info.run_id, "ship/card.md", str(tmp_path))
    assert Path(card).read_bytes() == (done["ship"].path / "card.md").read_bytes()


def test_curves_keep_their_steps(tmp_path):
    tracker = MLflow(uri=str(tmp_path / "mlruns"))
    tracker.on(Event(1e9, "", "run_started", {"id": "7", "name": "try", "store": "nowhere", "steps": {}}))
    for step, loss in ((10, 0.5), (20, 0.25), (30, float("inf"))):
        tracker.on(Event(1e9 + step, "tuned", "numbers", {"step": step, "loss": loss, "F1 (%)": 1}))
    tracker.on(Event(1e9 + 40, "", "run_done", {"status": "interrupted", "seconds": 1.0}))
    client, run = read(tmp_path / "mlruns")
    assert run.info.status == "KILLED"
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "tuned/loss")] == [
        (10, 0.5),
        (20, 0.25),
    ]
    assert run.data.metrics["tuned/F1 ___"] == 1


def test_the_place_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "there").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracker = MLflow()
    tracker.on(Event(1e9, "", "run_started", {"id": "7", "name": "try", "store": "nowhere", "steps": {}}))
    tracker.close()
    assert read(tmp_path / "there")[1].info.status == "FAILED"


def test_without_mlflow_the_run_does_not_start(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MachineError, match=r"is not installed\n.*pip install 'danlu\[mlflow\]'"):
        MLflow()
