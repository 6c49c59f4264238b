"""Every run is recorded, and a killed one goes on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from garden import GARDEN, heard, last

from danlu.core import plugin, runs

# ---- the record -----------------------------------------------------------------------------------------------------------


def test_every_run_is_recorded(garden, store):
    garden("tuned.steps=2").run(store)
    garden("tuned.steps=2").run(store)
    second, first = runs.all_runs(store.runs)
    assert (first.name, first.status, first.record["overrides"]) == ("garden", "done", ["tuned.steps=2"])
    assert {step["status"] for step in first.steps.values()} == {"done"}
    assert {step["status"] for step in second.steps.values()} == {"reused"}
    assert first.steps["tuned"]["key"] == second.steps["tuned"]["key"]
    assert (first.path / "recipe.yaml").read_text() == GARDEN
    assert [event["kind"] for event in first.events()][-1] == "run_done"
    assert runs.find(store.runs, first.id) == first


def kill_soon(store, plan, after):
    """Run the plan in a child and kill it; returns whether it came to its end first."""
    pid = os.fork()
    if pid == 0:
        try:
            plan.run(store)
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1] == 0


def test_kills_at_random_moments_and_the_next_run_goes_on(garden, store, toys):
    plan = garden("tuned.steps=40", "tuned.wait=0.005", "tuned.files=12")
    chance = random.Random(0)
    ended = kills = 0
    while kills < 32:
        if kill_soon(store, plan, chance.uniform(0.0, 0.35)):
            ended += 1
            shutil.rmtree(store.path / "artifacts", ignore_errors=True)
            (store.path / "artifacts").mkdir()
        else:
            kills += 1
        for found in store.artifacts():
            found.verify()
    made = plan.run(store)
    assert [a.manifest["step"] for a in made.values()] == ["data", "tuned", "score", "ship"]
    assert made["tuned"].file("part11/plant.txt").read_text() == "oats peas beans" * 12
    assert list((store.path / "drafts").glob("*")) == []
    assert list((store.path / "work").glob("*")) == []
    assert {run.status for run in runs.all_runs(store.runs)} <= {"died", "done"}


def test_a_killed_run_goes_on_from_its_checkpoint_and_is_known_to_have_died(garden, store, toys):
    plan = garden("tuned.steps=50", "tuned.wait=0.01")
    pid = os.fork()
    if pid == 0:
        plan.run(store)
        os._exit(0)
    while "step 3" not in toys():
        time.sleep(0.01)
    assert last(store).status == "running"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert last(store).status == "died"
    plan.run(store)
    steps = [word for word in toys() if word.startswith("step")]
    assert len(steps) <= 51  # the step that was killed may be done twice, none before it
    assert len(set(steps)) == 50
    assert toys().count("sow") == 1


TWO = """
import sys
from pathlib import Path
from danlu import recipe
from danlu.core import plugin
from danlu.core.artifact import Store
from danlu.core.events import Events
plugin.add_file(Path(sys.argv[1]))
notes = []
made = recipe.load(sys.argv[2], ["tuned.wait=0.2"]).plan().run(Store(sys.argv[3]), Events([notes.append]))
print(made["ship"].digest, sum("waiting for it" in str(e.data.get("text")) for e in notes if e.kind == "note"))
"""


def test_two_processes_on_one_store_run_a_step_once(garden, store, toys, tmp_path):
    toys_file = plugin.find("stages", "toy_sow").path
    command = [sys.executable, "-c", TWO, toys_file, str(tmp_path / "garden.yaml"), str(store.path)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [child.communicate()[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len({digest for digest, _ in told}) == 1
    assert sum(int(waited) for _, waited in told) >= 1
    words = [word for word in toys() if not word.startswith("step")]
    assert sorted(words) == ["grow", "pick", "ship", "sow"]


def test_clean_keeps_what_recent_runs_used_and_living_ones_use(garden, store, toys):
    for k in range(5):
        garden(f"tuned.steps={k}").run(store)
    kept = {step["key"] for run in runs.all_runs(store.runs)[:3] for step in run.steps.values()}
    store.clean()
    assert {a.key for a in store.artifacts()} == kept
    assert heard(garden("tuned.steps=4"), store, "step_started") == []


REUSED = """
started = [e.step for e in notes if e.kind == "step_started"]
assert not started, started
heavy = {"torch", "transformers", "sklearn", "onnxruntime", "pyarrow"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_reused_run_imports_no_model_library(garden, store, tmp_path):
    files = [plugin.find("stages", "toy_sow").path, str(tmp_path / "garden.yaml"), str(store.path)]
    for script in (TWO, TWO + REUSED):
        subprocess.run([sys.executable, "-c", script, *files], check=True)


def test_a_run_record_that_a_kill_broke_is_left_out(store):
    folder = store.runs / "20250101-000000-aaaa"
    folder.mkdir(parents=True)
    assert runs.all_runs(store.runs) == []
    for text in ("[]", "{}", "{"):
        (folder / "run.json").write_text(text)
        assert runs.all_runs(store.runs) == []
    (folder / "run.json").write_text(json.dumps({"name": "x", "status": "running", "started": "2025", "steps": {}}))
    (folder / "events.jsonl").write_text('{"kind": "note"}\n{"kind": "no')
    (run,) = runs.all_runs(store.runs)
    assert run.status == "died"
    assert list(run.events()) == [{"kind": "note"}]


def test_runs_are_found_by_the_beginning_of_their_id(store):
    from danlu.core.errors import RecipeError

    for name in ("20250101-000000-aaaa", "20250101-000001-bbbb"):
        (store.runs / name).mkdir(parents=True)
        (store.runs / name / "run.json").write_text(
            json.dumps({"name": "x", "status": "done", "started": name, "steps": {}})
        )
    assert runs.find(store.runs, "20250101-000001").id.endswith("bbbb")
    with pytest.raises(
        RecipeError, match="'2025' begins the ids of 2 runs: 20250101-000001-bbbb, 20250101-000000-aaaa"
    ):
        runs.find(store.runs, "2025")
    with pytest.raises(RecipeError, match="there is no run '2026'"):
        runs.find(store.runs, "2026")
