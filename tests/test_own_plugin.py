"""The example of a stranger's package: installed without a network, found, held to its promises, and run to the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "own_plugin"
PAGE = ROOT / "docs" / "own_task.md"
SOURCES = sorted((EXAMPLE / "danlu_stars").glob("*.py"))
BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Runs Python in a folder, with the example installed beside Danlu."""
    work = tmp_path_factory.mktemp("stranger")
    shutil.copytree(EXAMPLE, work / "source")
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*install, "--target", work / "site", work / "source"], check=True, capture_output=True)
    paths = [str(ROOT / "src"), str(work / "site")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}

    def run(*arguments, code=0):
        done = subprocess.run([sys.executable, *arguments], cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr[-2000:]
        return done

    return run


def test_it_is_small():
    assert len(SOURCES) == 4
    assert sum(len(path.read_text().splitlines()) for path in SOURCES) < 120


def bare(code):
    """Without indentation and empty lines, which a formatter of pages changes in a piece of a class."""
    return "\n".join(filter(None, map(str.strip, code.splitlines()))) + "\n"


def test_the_page_shows_the_code_as_it_is():
    code = "\n".join(path.read_text() for path in (*SOURCES, EXAMPLE / "pyproject.toml"))
    blocks = [text for _, text in BLOCK.findall(PAGE.read_text())]
    assert len(blocks) == 7
    assert [block for block in blocks if bare(block) not in bare(code)] == []
    lines = sum(len(path.read_text().splitlines()) for path in SOURCES)
    assert f"{lines} lines of Python" in PAGE.read_text()


def test_it_is_found_by_its_entry_points(python):
    listed = {
        (e["family"], e["name"], e["origin"])
        for e in json.loads(python("-m", "danlu.cli.main", "list", "--json").stdout)
    }
    assert {("tasks", "stars", "entry point"), ("methods", "biases", "entry point")} <= listed
    assert "The most stars there are" in python("-m", "danlu.cli.main", "show", "stars").stdout
    wrong = ["check", "source/stars.yaml", "data.task=text_classification", "data.task.text_classification.label=stars"]
    refused = python("-m", "danlu.cli.main", *wrong, code=2)
    assert "stars_off wants answer = number" in refused.stderr


@pytest.mark.parametrize("name", ["task:Stars", "method:Biases", "metric:StarsOff"])
def test_it_keeps_the_promises_of_its_family(python, name):
    module, _, cls = name.partition(":")
    partner = ", task=Stars()" if cls == "StarsOff" else ""
    python(
        "-c",
        f"from danlu.testing import checks\nfrom danlu_stars.task import Stars\nfrom danlu_stars.{module} import {cls}\nchecks.run({cls}{partner})",
    )


def test_it_runs_from_a_table_to_a_published_model(python):
    command = ["-m", "danlu.cli.main"]
    done = json.loads(python(*command, "run", "source/stars.yaml", "--store", "store", "--json").stdout)
    assert done["version"] == "stars@1"
    assert [row["name"] for row in done["table"]] == ["trained", "onnx", "int8", "int8 over HTTP"]
    good, bad = "The music was splendid, with friends", "Her part felt awful, on the train"
    answers = json.loads(python(*command, "predict", "stars", good, bad, "--store", "store", "--json").stdout)[
        "answers"
    ]
    assert answers[0]["stars"] > 3.5
    assert answers[1]["stars"] < 1.5
    frozen = python(
        *command, "run", "source/stars.yaml", "--store", "store", "--steps", "tuned", "--json", "tuned.method=biases"
    )
    assert list(json.loads(frozen.stdout)["steps"]) == ["data", "tuned"]
