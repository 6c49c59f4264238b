"""A plug-in is one file: with it alone come the recipe key, the lists, the checks and the answers."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.core import plugin
from danlu.testing import checks
from documents import ROOT, blocks

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

TASK = '''
"""A number for a text."""

import numpy as np

from danlu.contracts import Columns, Example, Head, Task
from danlu.core.errors import DataError


class Rating(Task):
    """How many stars a text gives: a number, not a label."""

    gives = {"modality": "text", "head": "input", "answer": "number"}

    text: str = "text"
    """The column of the texts."""
    stars: str = "stars"
    """The column of the numbers."""

    def columns(self):
        return Columns((self.text,), (self.stars,))

    def ask(self, row):
        return row[self.text]

    def gold(self, row):
        return None if row.get(self.stars) is None else float(row[self.stars])

    def row(self, x, answer):
        return {self.text: x, self.stars: answer}

    def examples(self, row, processor):
        return [Example(processor.inputs(self.ask(row)), {"stars": np.float32(self.gold(row))})]

    def head(self):
        return Head("input", 1)

    def loss(self, outputs, batch):
        return (outputs["logits"][:, 0] - batch.targets["stars"]) ** 2

    def encode(self, x, processor):
        return [Example(processor.inputs(self.from_json(x)))]

    def decode(self, x, examples, outputs, processor):
        return float(outputs[0]["logits"][0])

    def sample(self, n):
        clues = ("amber", "basil", "cedar")
        return [
            {self.text: f"{'and ' * (k // 3 % 5)}{clues[k % 3]} {k // 15}", self.stars: 4.0 * (k % 3 - 1)} for k in range(n)
        ]

    def distance(self, a, b):
        return min(1.0, abs(a - b) / 4)

    def from_json(self, value):
        if not isinstance(value, str):
            raise DataError("a text must be a string")
        return value

    def request_schema(self):
        return {"type": "string"}

    def answer_schema(self):
        return {"type": "number"}
'''

NEAR = '''
"""The share of numbers that are near the truth."""

import numpy as np

from danlu.contracts import Metric


class Near(Metric):
    """How many answers lie within one star of the truth."""

    wants = {"answer": ("number",)}

    def read(self, answers, gold):
        return np.abs(np.array(answers) - np.array(gold)) <= 1

    def value(self, read, weights):
        return float((read * weights).sum() / weights.sum())
'''

STARS = """
name: stars
steps:
  data: {do: prepare, source: {csv: stars.csv}, task: rating}
  tuned: {do: finetune, backbone: {pretrained: BERT}, method: biases, epochs: 30, lr: 0.01}
  small: {do: compress, by: [int8], budget: {max_drop: {near: 0.2}}}
  score: {do: evaluate, metrics: [near], baselines: []}
  same: {do: verify, metrics: [near], max_changed: 0.1}
  ship: {do: publish, alias: production}
"""

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


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A task, the method of CONTRIBUTING.md and a metric, each in a file of a stranger's own."""
    biases = next(block.body for block in blocks(ROOT / "CONTRIBUTING.md", "python") if "class Biases" in block.body)
    for name, text in (("rating", TASK), ("near", NEAR), ("biases", biases)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def write_stars(path: Path) -> None:
    """Sentences in which one word gives the stars away."""
    rng, clues = random.Random(0), {"amber": -2, "basil": 0, "cedar": 2}
    filling = ["the", "one", "that", "came", "with", "it", "and", "then", "some", "more", "of", "this", "day", "too"]
    rows = {" ".join([*rng.choices(filling, k=5), clue]): clues[clue] for clue in rng.choices(sorted(clues), k=240)}
    path.write_text("text,stars\n" + "".join(f"{text},{stars}\n" for text, stars in rows.items()))


def test_a_task_and_a_method_in_one_file_each_go_the_whole_line(files: Path, tiny_bert: Path) -> None:
    """Answers that are no labels, by a method that Danlu does not ship: every stage, every form, and the server."""
    write_stars(files / "stars.csv")
    (files / "stars.yaml").write_text(STARS.replace("BERT", str(tiny_bert)))
    imports = [word for name in ("rating", "near", "biases") for word in ("--import", f"{name}.py")]
    ran = danlu(files, "run", "stars.yaml", *imports, "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert [row["name"] for row in told["table"]] == ["trained", "onnx", "int8", "int8 over HTTP"]
    assert all(row["metrics"]["near"]["value"] > 0.5 for row in told["table"])
    asked = danlu(files, "predict", "stars", "and then the amber", "and then the cedar", *imports, "--json")
    assert asked.returncode == 0, asked.stderr
    bad, good = json.loads(asked.stdout)["answers"]
    assert bad < 0 < good
    unknown = danlu(files, "predict", "stars", "and then the amber")
    assert unknown.returncode == 2
    assert re.search(r"there is no task called 'rating'", unknown.stderr)


@pytest.mark.parametrize("name", ["rating", "near", "biases"])
def test_a_plugin_of_a_stranger_passes_the_conformance_checks(name: str, files: Path, strangers: None) -> None:
    partners = {} if name != "near" else {"task": plugin_of(files / "rating.py")()}
    assert len(checks.run(plugin_of(files / f"{name}.py"), **partners)) >= 10


def plugin_of(path: Path) -> type:
    (entry,) = plugin.add_file(path)
    return plugin.load(entry.family, entry.name)
