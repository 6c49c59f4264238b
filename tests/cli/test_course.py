"""Small curves in the terminal, from what was said or from what came out."""

import json

import pytest

from danlu.cli.course import sparkline, trainings

SAID = [
    {"step": "gpt", "kind": "numbers", "data": {"step": 10, "loss": 2.0, "lr": 0.1}},
    {"step": "gpt", "kind": "numbers", "data": {"step": 10, "validation_loss": 1.5}},
    {"step": "data", "kind": "numbers", "data": {"rows": 3}},
]


@pytest.mark.parametrize(("values", "width", "drawn"), [
    ([0, 1, 2, 3, 4, 5, 6, 7], 20, "▁▂▃▄▅▆▇█"), ([0, 0, 7, 7], 2, "▁█"), ([3, 3, 3], 9, "▁▁▁"), ([5], 9, "▁"),
    ([0, 0, 7, 7, 0, 7], 3, "▁█▅"),
])  # fmt: skip
def test_sparklines(values, width, drawn):
    assert sparkline(values, width) == drawn


def test_a_training_under_way_shows_what_it_has_said():
    found = trainings({}, "", SAID)
    assert list(found) == ["gpt"]
    assert found["gpt"]["numbers"] == {
        "loss": [[10, 2.0]], "rates": [[10, 0.1]], "validation": {"of": "loss", "looks": [[10, 1.5]]},
    }  # fmt: skip
    assert found["gpt"]["samples"] == []


def test_a_finished_one_shows_what_came_out():
    numbers = {"loss": [[1, 3.0]], "mfu": 0.5}
    done = {"step": "gpt", "kind": "step_done", "data": {"numbers": numbers}}
    assert trainings({}, "", [*SAID, done])["gpt"]["numbers"] == numbers


def test_the_run_of_a_recipe(danlu, digits_run):
    run_id = danlu("runs", "--store", digits_run.store.path, "--json").json[-1]["id"]
    said = danlu("runs", "show", run_id, "--store", digits_run.store.path)
    assert "\ntuned\n" in said.out
    assert any(line.startswith("train ") and "█" in line for line in said.out.splitlines())
    assert "examples/s" in said.out
    told = danlu("runs", "show", run_id, "--store", digits_run.store.path, "--json").json["trainings"]["tuned"]
    assert told["numbers"]["loss"]
    assert json.dumps(told)
