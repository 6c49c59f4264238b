from pathlib import Path

import pytest

DIGITS = Path(__file__).parents[2] / "recipes" / "digits.yaml"
STEPS = ["data", "tuned", "small", "score", "same", "ship"]


@pytest.fixture
def runs(danlu, digits_run):
    return lambda *arguments: danlu("runs", "--store", digits_run.store.path, *arguments)


def test_an_empty_store(danlu, tmp_path):
    said = danlu("runs", "--store", tmp_path / "none")
    assert (said.code, said.err) == (0, "")
    assert "Nothing was run yet" in said.out
    assert not (tmp_path / "none").exists()


def test_the_runs_of_a_store(runs):
    said = runs()
    assert "digits  done" in said.out
    assert "6 done" in said.out
    told = runs("--json").json[-1]  # other tests may have run it again, in the same store
    assert (told["name"], told["status"], list(told["steps"])) == ("digits", "done", sorted(STEPS))


def test_one_run_in_the_order_of_its_steps(runs):
    run_id = runs("--json").json[-1]["id"]
    said = runs("show", run_id[:-1])
    assert said.code == 0
    assert run_id in said.out
    places = [said.out.index(f"\n{step} ") for step in STEPS]
    assert places == sorted(places)
    assert "published digits@1" in said.out
    told = runs("show", run_id, "--json").json
    assert told["id"] == run_id
    assert told["events"][0]["kind"] == "run_started"


def test_the_options_of_the_group_hold_for_its_commands(danlu, digits_run, runs):
    run_id = runs("--json").json[-1]["id"]
    assert danlu("runs", "--store", digits_run.store.path, "--json", "show", run_id).json["id"] == run_id


def test_an_unknown_run(runs):
    said = runs("show", "1999")
    assert said.code == 2
    assert "there is no run '1999'" in said.err


def test_a_failed_run_tells_why(danlu, tmp_path, toys):
    (tmp_path / "words.txt").write_text("one")
    recipe = tmp_path / "my.yaml"
    recipe.write_text("steps:\n  seeds: {do: toy_sow, words: words.txt}\n  plant: {do: toy_grow, fail: value}\n")
    store = tmp_path / "store"
    assert danlu("run", recipe, "--store", store, "-q").code == 1
    assert "1 done, plant failed" in danlu("runs", "--store", store).out
    assert "planted" in danlu("runs", "show", "2", "--store", store).out
