"""The schema of the recipe language accepts what `danlu check` accepts, and refuses a wrong key where it stands."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from danlu.core import document, plugin
from danlu.core.language import recipe_schema
from danlu.recipe import STANDARD_STEPS

ROOT = plugin.PACKAGE.parent.parent
RECIPES = sorted([*(ROOT / "recipes").glob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")])
DATA = {"do": "prepare", "source": "digits", "task": "image_classification"}


@pytest.fixture
def schema(strangers):
    plugin.load("backbones", "danlu.testing.bag:Bag")  # named so by other tests in this process; it changes nothing
    return recipe_schema(STANDARD_STEPS)


def faults(schema, recipe):
    return list(Draft202012Validator(schema).iter_errors(recipe))


def test_it_is_a_schema_and_json(schema):
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert '"x-' not in json.dumps(schema)


@pytest.mark.parametrize("path", [p for p in RECIPES if "own_plugin" not in p.parts], ids=lambda p: p.name)
def test_every_shipped_recipe_is_valid(schema, path):
    assert faults(schema, document.parse(path.read_text(encoding="utf-8"), str(path))) == []


@pytest.mark.parametrize(
    "entry", [e for e in plugin.entries() if e.origin == "danlu"], ids=lambda e: f"{e.family}/{e.name}"
)
def test_the_defaults_of_every_plug_in_are_valid(schema, entry):
    defaults = {name: option["default"] for name, option in entry.fields.items() if "default" in option}
    own = {**schema["$defs"][f"{entry.family}.{entry.name}"], "$defs": schema["$defs"], "required": []}
    assert faults(own, defaults) == []
    assert faults(own, {**defaults, "no_such_option": 1})


@pytest.mark.parametrize(
    "recipe",
    [
        {"source": {"csv": "my.csv"}, "task": "text_classification"},
        {"source": {"csv": {"path": "my.csv"}}, "task": {"text_classification": None}, "epochs": 3, "name": "mine"},
        {"steps": {"data": DATA, "tuned": {"do": "finetune", "backbone": {"vit": "mini"}, "dataset": "$data"}}},
        {"steps": {"data": {**DATA, "task": "mine.tasks:Stars"}}, "import": ["mine.py"]},
        {"steps": {"data": {**DATA, "task": {"mine.tasks:Stars": {"most": 3}}}}},
        {"steps": {"data": {**DATA, "operators": ["normalize", {"drop_empty": {"columns": ["image"]}}]}}},
        {"steps": {"data": DATA, "own": {"do": "mine.stages:Own", "anything": 1}}},
    ],
)
def test_each_way_to_write_a_plug_in_is_valid(schema, recipe):
    assert faults(schema, recipe) == []


@pytest.mark.parametrize(
    "recipe",
    [
        {"source": {"csv": "my.csv"}},
        {"source": {"csv": "my.csv"}, "task": "text_classification", "epoch": 3},
        {"source": "csv", "task": "text_classification"},
        {"steps": {}},
        {"steps": {"data": {**DATA, "operator": []}}},
        {"steps": {"data": {**DATA, "do": "prepair"}}},
        {"steps": {"data": {**DATA, "task": "image_classificatoin"}}},
        {"steps": {"data": {**DATA, "source": {"synthetic": {"rows": 3}}}}},
        {"steps": {"data": {**DATA, "source": {"synthetic": {"size": 0}}}}},
        {"steps": {"data": {**DATA, "split": {"by": "chance"}}}},
        {"steps": {"data": DATA, "tuned": {"do": "finetune", "dataset": "data"}}},
        {"steps": {"data": DATA}, "Name": "x"},
    ],
)
def test_what_is_wrong_is_refused(schema, recipe):
    assert faults(schema, recipe)


def test_the_command_prints_it_and_writes_it(tmp_path, schema):
    command = [sys.executable, "-m", "danlu.cli.main", "schema"]
    printed = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    assert json.loads(printed.stdout) == schema
    subprocess.run([*command, "--to", "recipe.json"], capture_output=True, check=True, cwd=tmp_path)
    assert json.loads((tmp_path / "recipe.json").read_bytes()) == schema


def test_a_plug_in_of_ones_own_is_in_it(tmp_path):
    (tmp_path / "sure.py").write_text(
        "from danlu.contracts import Metric\n\n\nclass Sure(Metric):\n    '''How sure.'''\n\n    bound: float = 0.5\n    '''From where on.'''\n"
    )
    command = [sys.executable, "-m", "danlu.cli.main", "schema", "--import", "sure.py"]
    made = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout)
    assert made["$defs"]["metrics.sure"]["properties"]["bound"]["default"] == 0.5


def test_no_plug_in_is_imported_for_it():
    code = (
        "import sys\nfrom danlu.cli.main import run\nrun(['schema'])\n"
        "sys.stderr.write(str([m for m in ('torch', 'transformers', 'pyarrow', 'sqlalchemy') if m in sys.modules]))"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # the index may have to be made first
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
