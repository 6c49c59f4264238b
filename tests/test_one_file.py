"""A plug-in is one file: with it alone come the recipe key, the lists, the checks and the answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

METRIC = '''
"""The share of answers whose confidence is above a half."""

from danlu.contracts import Metric


class Sure(Metric):
    """How often the model is sure."""

    bound: float = 0.5
    """The confidence above which it counts as sure."""

    wants = {"answer": ("label",)}

    def read(self, answers, gold):
        import numpy as np

        return np.array([answer["confidence"] > self.bound for answer in answers], dtype=float)

    def value(self, read, weights):
        return float((read * weights).sum() / weights.sum())
'''

RECIPE = """
name: tiny
steps:
  data: {do: prepare, source: {synthetic: {kind: text, size: 200}}, task: text_classification}
  tuned: {do: finetune, backbone: majority}
  score: {do: evaluate, metrics: [accuracy, {sure: {bound: 0.3}}], baselines: []}
"""


def danlu(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "danlu.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_metric_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "sure.py").write_text(METRIC)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    told = danlu(tmp_path, "list", "metrics", "--import", "sure.py", "--json")
    assert "sure" in [entry["name"] for entry in json.loads(told.stdout)]
    shown = danlu(tmp_path, "show", "sure", "--import", "sure.py")
    assert "How often the model is sure." in shown.stdout
    assert "confidence above which" in shown.stdout
    assert danlu(tmp_path, "check", "tiny.yaml").returncode == 2
    assert danlu(tmp_path, "check", "tiny.yaml", "--import", "sure.py").returncode == 0
    refused = danlu(tmp_path, "check", "tiny.yaml", "score.metrics=[{sure: {bund: 0.3}}]", "--import", "sure.py")
    assert refused.returncode == 2
    assert "did you mean bound?" in refused.stderr
    ran = danlu(tmp_path, "run", "tiny.yaml", "--import", "sure.py", "--json")
    assert ran.returncode == 0, ran.stderr
    scores = next((tmp_path / ".danlu" / "artifacts").glob("*/scores.json"))
    assert json.loads(scores.read_text())["metrics"]["sure"]["value"] == 1.0
