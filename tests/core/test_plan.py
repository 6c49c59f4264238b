import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from danlu import recipe
from danlu.core import plugin, runs
from danlu.core.artifact import Draft, Store
from danlu.core.errors import DataError, MachineError, RecipeFaults
from danlu.core.events import Events

GARDEN = """
name: garden
steps:
  data: {do: toy_sow, words: words.txt}
  tuned: {do: toy_grow, backbone: toy_counts}
  score: {do: toy_pick}
  ship: {do: toy_ship}
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def garden(toys, tmp_path):
    """Load the recipe with overrides."""
    (tmp_path / "words.txt").write_text("oats peas beans")
    path = tmp_path / "garden.yaml"
    path.write_text(GARDEN)
    return lambda *overrides: recipe.load(path, overrides).plan()


def statuses(plan, store):
    return {p.step.name: p.status for p in plan.preview(store)}


def heard(plan, store, kind):
    events = []
    plan.run(store, Events([events.append]))
    return [event.step for event in events if event.kind == kind]


# ---- reuse -------------------------------------------------------------------------------------------------------------


def test_a_run_makes_every_step_and_a_second_one_reuses_all(garden, store, toys):
    first = garden().run(store)
    assert toys() == ["sow", "grow", "step 0", "step 1", "step 2", "pick", "ship"]
    assert {name: a.kind for name, a in first.items()} == {
        "data": "seeds",
        "tuned": "plant",
        "score": "score",
        "ship": "parcel",
    }
    second = garden().run(store)
    assert second == first
    assert len(toys()) == 7
    assert heard(garden(), store, "step_reused") == ["data", "tuned", "score", "ship"]


def test_a_manifest_tells_where_an_artifact_came_from(garden, store):
    made = garden("tuned.seed=5").run(store)
    manifest = made["tuned"].manifest
    assert manifest["settings"]["seed"] == 5
    assert manifest["settings"]["method"] == {"toy_full": {}}
    assert manifest["inputs"] == {
        "seeds": {"key": made["data"].key, "digest": made["data"].digest, "kind": "seeds", "step": "data"}
    }
    assert manifest["code"]["methods/toy_full"] == plugin.identity(plugin.find("methods", "toy_full"))
    assert manifest["code"]["danlu"] == plugin.code_identity()
    assert manifest["numbers"] == {"height": 3}
    assert made["score"].parents(store) == {"seeds": made["data"], "plant": made["tuned"]}


@pytest.mark.parametrize(
    ("override", "runs"),
    [
        ("score.name=other", ["score", "ship"]),
        ("tuned.method=toy_picky", ["tuned", "score", "ship"]),
        ("data.mode=some", ["data", "tuned", "score", "ship"]),
        ("seed=1", ["data", "tuned", "score", "ship"]),
        ("ship.seed=1", ["ship"]),
        ("tuned.steps=3", []),
    ],
)
def test_one_option_changed_runs_only_what_depends_on_it(garden, store, override, runs):
    garden().run(store)
    ran = [name for name, status in statuses(garden(override), store).items() if status != "reused"]
    assert ran == runs
    # What is made again equal in content needs nothing below it to be made again.
    started = heard(garden(override), store, "step_started")
    assert set(started) <= set(runs)
    assert started[:1] == runs[:1]


def test_equal_content_is_not_judged_again(garden, store, toys):
    garden().run(store)
    assert heard(garden("tuned.method=toy_picky"), store, "step_started") == ["tuned"]


def test_one_byte_of_the_data_changed_runs_again(garden, store, tmp_path):
    garden().run(store)
    words = tmp_path / "words.txt"
    before = words.stat()
    words.write_text("oats peas bears")
    os.utime(words, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert heard(garden(), store, "step_started") == ["data", "tuned", "score"]
    words.write_text("oats peas beans")
    assert heard(garden(), store, "step_started") == []


def test_where_the_data_lies_does_not_matter(garden, store, tmp_path):
    garden().run(store)
    (tmp_path / "elsewhere.txt").write_text("oats peas beans")
    assert heard(garden(f"data.words={tmp_path}/elsewhere.txt"), store, "step_started") == []


def test_one_line_of_an_imported_plugin_changed_runs_again(strangers, store, tmp_path, monkeypatch):
    code = "from danlu.contracts import Stage\nclass Mine(Stage):\n    makes = 'x'\n    def run(self, inputs, out, events): (out.path / 'a').write_text('{}')\n"
    path = tmp_path / "mine.py"

    def started(text):
        monkeypatch.setattr(plugin, "_strangers", {})
        path.write_text(code.format(text))
        plan = recipe.load({"steps": {"a": {"do": "mine"}}}, imports=[path]).plan()
        return heard(plan, store, "step_started"), plan.run(store)["a"].file("a").read_text()

    assert started("one") == (["a"], "one")
    assert started("one") == ([], "one")
    assert started("two") == (["a"], "two")
    assert started("one") == ([], "one")


def test_the_code_of_danlu_is_part_of_every_key(garden, store, monkeypatch):
    garden().run(store)
    monkeypatch.setattr(plugin, "code_identity", lambda: "another version")
    assert statuses(garden(), store)["data"] == "will run"


def test_a_stage_that_says_it_is_no_longer_so_runs_again_and_replaces_what_it_made(garden, store):
    first = garden().run(store)["ship"]
    (store.path / "shipped").unlink()
    assert statuses(garden(), store)["ship"] == "will run"
    assert heard(garden(), store, "step_started") == ["ship"]
    assert (store.path / "shipped").exists()
    assert store.find(first.key).digest == first.digest


LIVE = """
from danlu.contracts import Source, Stage, slot
class Live(Source):
    def rows(self, split=""): return []
    def fingerprint(self): return None
class Copy(Stage):
    makes = "copy"
    source: Source = slot("live")
    def run(self, inputs, out, events): (out.path / "a").write_text("same")
class After(Stage):
    needs = {"copy": "copy"}
    makes = "after"
    def run(self, inputs, out, events): (out.path / "b").write_text("b")
"""


def test_a_source_without_a_fingerprint_is_never_reused_but_equal_content_is(strangers, store, tmp_path):
    (tmp_path / "live.py").write_text(LIVE)
    plugin.add_file(tmp_path / "live.py")
    plan = recipe.load({"steps": {"a": {"do": "copy"}, "b": {"do": "after"}}}).plan()
    plan.run(store)
    assert heard(plan, store, "step_started") == ["a"]


def test_preview_tells_what_a_run_would_do_and_changes_nothing(garden, store, toys):
    assert statuses(garden(), store) == {"data": "will run", "tuned": "unknown", "score": "unknown", "ship": "unknown"}
    assert toys() == []
    assert not store.path.exists()
    garden().run(store)
    preview = garden("tuned.steps=1").preview(store)
    assert [(p.step.name, p.status, p.waits_for) for p in preview] == [
        ("data", "reused", ()), ("tuned", "will run", ()), ("score", "unknown", ("tuned",)), ("ship", "unknown", ("score",)),
    ]  # fmt: skip
    assert preview[0].artifact == store.find(preview[0].key)


def test_an_artifact_edited_by_hand_is_refused_on_use(garden, store):
    made = garden().run(store)["tuned"]
    path = made.file("part0/plant.txt")
    path.chmod(0o644)
    path.write_text("oats peas bears")
    with pytest.raises(DataError, match=r"(?s)its file part0/plant.txt was changed after it was made.*rm -r"):
        garden("score.name=other").run(store)
    shutil.rmtree(made.path)
    garden("score.name=other").run(store)


# ---- what goes wrong ----------------------------------------------------------------------------------------------------


def last(store):
    return runs.all_runs(store.runs)[0]


def test_a_stage_that_raises_leaves_nothing_but_its_checkpoints_and_the_next_run_goes_on(garden, store, toys):
    with pytest.raises(ValueError, match="planted"):
        garden("tuned.fail=value").run(store)
    run = last(store)
    assert (run.status, run.steps["data"]["status"], run.steps["tuned"]["status"]) == ("failed", "done", "failed")
    assert run.record["error"]["type"] == "ValueError"
    assert list((store.path / "drafts").iterdir()) == []
    assert [a.kind for a in store.artifacts()] == ["seeds"]
    (work,) = (store.path / "work").iterdir()
    assert (work / "checkpoint").read_text() == "3"


def test_an_interrupted_run_says_so_and_goes_on_where_it_stopped(garden, store, toys, monkeypatch):
    events = []
    with pytest.raises(KeyboardInterrupt, match="planted"):
        garden("tuned.fail=interrupt").run(store, Events([events.append]))
    assert last(store).status == last(store).steps["tuned"]["status"] == "interrupted"
    (failed,) = [event for event in events if event.kind == "step_failed"]
    assert failed.data["status"] == "interrupted"
    before = len(toys())
    with pytest.raises(KeyboardInterrupt, match="planted"):
        garden("tuned.fail=interrupt").run(store)
    assert toys()[before:] == ["grow"]


def test_a_full_disk_in_a_stage_is_the_machines_fault(garden, store):
    with pytest.raises(MachineError, match=r"No space left on device \(.* MB free\)(?s:.*)danlu clean"):
        garden("tuned.fail=disk").run(store)
    assert [a.kind for a in store.artifacts()] == ["seeds"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("write failed: No space left on device"), "tuned: the disk is full"),
        (MemoryError(), "tuned: the memory is full"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), "tuned: the memory is full: Default"),
        (OSError(errno.ENOSPC, "x"), r"could not write: No space left on device"),
    ],
)  # fmt: skip
def test_how_libraries_word_a_full_machine_is_understood(garden, store, monkeypatch, error, message):
    def fail(self, inputs, out, events):
        raise error

    monkeypatch.setattr(plugin.load("stages", "toy_grow"), "run", fail)
    with pytest.raises(MachineError, match=message):
        garden().run(store)


def test_a_full_disk_at_the_commit_keeps_the_checkpoints(garden, store, monkeypatch):
    def full(self):
        raise MachineError("could not write: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Draft, "commit", full)
        with pytest.raises(MachineError, match="data: could not write"):
            garden().run(store)
    assert store.artifacts() == []
    garden().run(store)


def test_a_missing_file_is_told_before_anything_runs(garden, store, toys, tmp_path):
    plan = garden()
    (tmp_path / "words.txt").unlink()
    with pytest.raises(DataError, match=r"words.txt: there is no such file"):
        plan.run(store)
    assert toys() == []
    assert last(store).status == "failed"


def test_data_that_changes_while_it_is_read_is_refused(garden, store, tmp_path, monkeypatch):
    stage = plugin.load("stages", "toy_sow")
    real = stage.run

    def run(self, inputs, out, events):
        real(self, inputs, out, events)
        (tmp_path / "words.txt").write_text("something else")

    monkeypatch.setattr(stage, "run", run)
    with pytest.raises(DataError, match=r"data.words: .*words.txt was changed while the step ran\n  → run again"):
        garden().run(store)
    assert store.artifacts() == []


REFUSES = """
from pydantic import BaseModel
from danlu.contracts import Stage, Method, slot
class Shy(Method):
    def model_post_init(self, context):
        raise ValueError("the library for it is not there")
class Early(Stage):
    makes = "early"
    def run(self, inputs, out, events): (out.path / "a").write_text("a")
class Late(Stage):
    needs = {"early": "early"}
    makes = "late"
    method: Method = slot("shy")
    def run(self, inputs, out, events): ...
"""


def test_every_plugin_is_made_before_the_first_step_starts(strangers, store, tmp_path):
    (tmp_path / "refuses.py").write_text(REFUSES)
    plugin.add_file(tmp_path / "refuses.py")
    plan = recipe.load({"steps": {"a": {"do": "early"}, "b": {"do": "late"}, "c": {"do": "late"}}}).plan()
    with pytest.raises(
        RecipeFaults, match=r"(?s)2 faults.*b.method.shy: the library for it is not there.*c.method.shy"
    ):
        plan.run(store)
    assert store.artifacts() == []


def test_events_tell_the_run(garden, store):
    events = []
    garden().run(store, Events([events.append]))
    told = [(event.step, event.kind) for event in events if event.kind != "progress"]
    assert told == [
        ("", "run_started"),
        *itertools.chain.from_iterable(((name, "step_started"), (name, "step_done")) for name in ("data", "tuned", "score", "ship")),
        ("", "run_done"),
    ]  # fmt: skip
    assert events[0].data["steps"] == {"data": "toy_sow", "tuned": "toy_grow", "score": "toy_pick", "ship": "toy_ship"}
    assert events[0].data["store"] == str(store.path)
    assert last(store).id == events[0].data["id"]


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
