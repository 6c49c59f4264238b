import json
from pathlib import Path

import pytest

from danlu.core.artifact import Artifact

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "recipes" / "digits.yaml"
TOYS = ROOT / "tests" / "toys.py"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DANLU_STORE", raising=False)
    return tmp_path


@pytest.fixture
def garden(here, toys):
    """A recipe of toys, and its data."""
    (here / "words.txt").write_text("one two three")
    path = here / "garden.yaml"
    path.write_text(
        "steps:\n  seeds: {do: toy_sow, words: words.txt}\n  plant: {do: toy_grow}\n  judged: {do: toy_pick}\n"
    )
    return path


def reviews(path, rows=80):
    lines = [f"row {k} of a story that we like,{('bad', 'good')[k % 2]}" for k in range(rows)]
    path.write_text("comment,verdict\n" + "\n".join(lines) + "\n")
    return path


# ---- new -----------------------------------------------------------------------------------------------------------


def test_new_prints_what_it_found_and_writes_beside_the_data(danlu, here):
    (here / "in").mkdir()
    reviews(here / "in" / "my.csv")
    said = danlu("new", "--data", "in/my.csv")
    assert said.code == 0, said.err
    for told in ("text       column 'comment'", "label      column 'verdict'", "backbone", "wrote in/my.yaml",
                 "next:  danlu run in/my.yaml"):  # fmt: skip
        assert told in said.out
    assert danlu("check", "in/my.yaml").code == 0


def test_new_never_overwrites(danlu, here):
    reviews(here / "my.csv")
    (here / "my.yaml").write_text("mine")
    said = danlu("new", "--data", "my.csv")
    assert said.code == 2
    assert "there is a file already" in said.err
    assert (here / "my.yaml").read_text() == "mine"
    assert danlu("new", "--data", "my.csv", "--to", "other.yaml").code == 0


def test_new_in_json(danlu, here):
    reviews(here / "my.csv")
    told = danlu("new", "--data", "my.csv", "--json").json
    assert (told["recipe"], told["name"]) == ("my.yaml", "my")
    assert told["text"] == (here / "my.yaml").read_text()
    assert danlu("new", "--data", "none.csv", "--json").json["error"]["exit_code"] == 3


def test_what_stands_in_a_column_name_steers_nothing(danlu, here):
    path = reviews(here / "my.csv")
    path.write_text(path.read_text().replace("comment", "[red]\x1b[2Jcomment"))
    said = danlu("new", "--data", "my.csv")
    assert said.code == 0, said.err
    assert "[red]" in said.out
    assert "\x1b" not in said.out + (here / "my.yaml").read_text()


# ---- check and plan ------------------------------------------------------------------------------------------------


def test_check_says_that_nothing_is_wrong(danlu):
    said = danlu("check", DIGITS)
    assert said.out == "digits: 6 steps, nothing wrong: data → tuned → small → score → same → ship\n"
    assert list(danlu("check", DIGITS, "--json").json["steps"]) == ["data", "tuned", "small", "score", "same", "ship"]


def test_check_tells_all_faults_at_once(danlu):
    overrides = ["tuned.epochz=3", "data.source=digitz", "tuned.batch_size=0", "nowhere.x=1"]
    said = danlu("check", DIGITS, *overrides)
    assert said.code == 2
    assert all(f"  {k}. " in said.err for k in (1, 2, 3, 4))
    assert "did you mean epochs" in said.err
    assert len(danlu("check", DIGITS, *overrides, "--json").json["error"]["faults"]) == 4


def test_plan_tells_what_would_run(danlu, garden):
    assert [line.split()[0] for line in danlu("plan", garden).out.splitlines()[1:4]] == ["seeds", "plant", "judged"]
    assert danlu("run", garden, "-q").code == 0
    told = danlu("plan", garden, "plant.steps=5", "--json").json
    assert {name: step["status"] for name, step in told["steps"].items()} == {
        "seeds": "reused", "plant": "will run", "judged": "unknown",
    }  # fmt: skip
    assert "runs, unless plant come out as before" in danlu("plan", garden, "plant.steps=5").out


def test_some_steps_alone(danlu, garden):
    assert list(danlu("run", garden, "--steps", "plant", "--json").json["steps"]) == ["seeds", "plant"]
    planned = danlu("plan", garden, "--steps", "seeds, judged", "--json").json["steps"]
    assert [step["status"] for step in planned.values()] == ["reused", "reused", "will run"]
    wrong = danlu("run", garden, "--steps", "plnt")
    assert (wrong.code, "did you mean plant?" in wrong.err) == (2, True)


def test_imports_come_with_the_command(danlu, garden, monkeypatch):
    from danlu.core import plugin

    monkeypatch.setattr(plugin, "_strangers", {})
    assert danlu("check", garden).code == 2
    assert danlu("check", garden, "--import", TOYS).code == 0


# ---- run -----------------------------------------------------------------------------------------------------------


def test_a_run_tells_its_progress_on_standard_error_and_its_result_on_standard_output(danlu, garden, toys):
    said = danlu("run", garden)
    assert said.code == 0
    assert said.out.splitlines() == [f"result   score of judged: {last_artifact(garden)}"]
    for told in ("garden", "seeds", "plant", "done in"):
        assert told in said.err
    again = danlu("run", garden)
    assert "3 reused" in again.err
    assert toys().count("grow") == 1


def last_artifact(garden):
    artifacts = [Artifact.read(path) for path in (garden.parent / ".danlu" / "artifacts").iterdir()]
    return next(a.path for a in artifacts if a.kind == "score")


def test_quiet_says_nothing_but_warnings_and_where_the_result_is(danlu, garden):
    said = danlu("run", garden, "--quiet")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"result   score of judged: {last_artifact(garden)}\n"


def test_plan_says_what_run_refuses(danlu, garden, here):
    assert danlu("run", garden, "-q").code == 0
    edited = next((here / ".danlu" / "artifacts").rglob("plant.txt"))
    edited.chmod(0o644)
    edited.write_text(edited.read_text().upper())
    what = "its file part0/plant.txt was changed after it was made"
    said, refused = danlu("plan", garden), danlu("run", garden, "-q")
    assert (refused.code, what in refused.err) == (3, True)
    assert said.code == 0
    assert f"refused: {what}" in said.out
    assert f"→ rm -r {edited.parents[1]}" in said.out
    assert "runs, unless plant come out as before" in said.out
    told = danlu("plan", garden, "--json").json["steps"]
    assert [(step["status"], step["fault"]) for step in told.values()] == [
        ("reused", None), ("refused", what), ("unknown", None),
    ]  # fmt: skip
    (edited.parents[1] / "manifest.json").unlink()
    assert danlu("plan", garden, "--json").json["steps"]["plant"]["status"] == "refused"


def test_a_run_in_json(danlu, garden, here):
    told = danlu("run", garden, "plant.steps=2", "name=mine", "--json").json
    assert told["name"] == "mine"
    assert told["store"] == str(here / ".danlu")
    assert {name: step["kind"] for name, step in told["steps"].items()} == {
        "seeds": "seeds", "plant": "plant", "judged": "score",
    }  # fmt: skip
    assert (told["reused"], told["table"], told["warnings"], told["version"]) == ([], [], [], None)
    assert danlu("run", garden, "plant.steps=2", "name=mine", "--json").json["reused"] == ["seeds", "plant", "judged"]


def test_a_failed_run_is_told_and_goes_on(danlu, garden, toys):
    said = danlu("run", garden, "plant.fail=value", "--json")
    assert said.code == 1
    assert said.json["error"]["what"].startswith("ValueError")
    assert danlu("run", garden).code == 0
    assert toys().count("sow") == 1


def test_more_trackers(danlu, garden, here):
    said = danlu("run", garden, "-q", "--track", "jsonl", "--track", "{jsonl: other.jsonl}")
    assert said.code == 0, said.err
    for name in ("events.jsonl", "other.jsonl"):
        kinds = [json.loads(line)["kind"] for line in (here / name).read_text().splitlines()]
        assert (kinds[0], kinds[-1]) == ("run_started", "run_done")
    said = danlu("run", garden, "--track", "jsonk")
    assert said.code == 2
    assert "did you mean jsonl" in said.err


def test_the_last_table(danlu, digits_store):
    said = danlu("run", DIGITS, "--store", digits_store)
    assert said.code == 0, said.err
    rows = [line for line in said.out.splitlines() if "(" in line and "–" in line]
    assert [row.split("  ")[0] for row in rows] == [
        "trained", "onnx", "int8 (served)", "int8 over HTTP", "majority (baseline)",
    ]  # fmt: skip
    header = next(line for line in said.out.splitlines() if "accuracy" in line)
    assert all(column in header for column in ("accuracy", "F1", "MB", "ms at batch 1", "ms at batch 32"))
    assert "report.html" in said.out
    assert "version  digits@1" in said.out
    assert "danlu predict digits" in said.out


@pytest.mark.parametrize(
    ("alias", "asked"), [("production", "digits"), ("null", "digits@1"), ("staging", "digits@staging")]
)
def test_the_next_command_is_one_that_answers(danlu, digits_store, alias, asked):
    said = danlu("run", DIGITS, f"ship.alias={alias}", "--store", digits_store)
    assert f'next:    danlu predict {asked} "…" --store' in said.out
    assert danlu("versions", asked, "--card", "--store", digits_store).code == 0


def test_a_baseline_that_is_not_beaten_is_told_in_a_sentence(danlu, digits_store, monkeypatch):
    from danlu.api import Run

    sentence = "The model is not better than the baseline tfidf_lr: the difference in accuracy is -0.010."
    monkeypatch.setattr(Run, "warnings", property(lambda run: [sentence]))
    said = danlu("run", DIGITS, "--store", digits_store, "-q")
    assert f"! {sentence}" in said.out
    assert danlu("run", DIGITS, "--store", digits_store, "--json").json["warnings"] == [sentence]
