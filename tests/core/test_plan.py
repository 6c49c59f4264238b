import errno
import itertools
import os
import shutil

import pytest
from garden import heard, last, statuses

from danlu import recipe
from danlu.core import plugin
from danlu.core.artifact import Draft
from danlu.core.errors import DataError, MachineError, RecipeError, RecipeFaults
from danlu.core.events import Events

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


def test_some_steps_alone_take_along_what_they_rest_on(garden, store, toys):
    assert list(garden().only(["tuned"]).run(store)) == ["data", "tuned"]
    assert toys() == ["sow", "grow", "step 0", "step 1", "step 2"]
    assert garden().only([]) == garden()
    assert [step.name for step in garden().only(["ship", "data"]).steps] == ["data", "tuned", "score", "ship"]
    with pytest.raises(RecipeError, match=r"--steps: the recipe has no step 'tunde'; did you mean tuned\?"):
        garden().only(["tunde"])


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
    ("error", "told"),
    [
        (RecipeError("no", where="method.toy_lora", do="method=toy_full, or another"), "tuned.method.toy_lora: no\n  → tuned.method=toy_full, or another"),
        (RecipeError("no", where="method", do="method is what to change"), "tuned.method: no\n  → method is what to change"),
        (RecipeError("no", where="tuned.method", do="data.size=3"), "tuned.method: no\n  → data.size=3"),
        (DataError("no", where="method.csv", do="method.toy_lora.rank=4"), "method.csv: no\n  → tuned.method.toy_lora.rank=4"),
        (DataError("no"), "tuned: no"),
    ],
)  # fmt: skip
def test_what_a_plug_in_says_of_an_option_names_the_step(garden, store, toys, monkeypatch, error, told):
    def fail(self, inputs, out, events):
        raise error

    monkeypatch.setattr(plugin.load("stages", "toy_grow"), "run", fail)
    with pytest.raises(type(error)) as caught:
        garden().run(store)
    assert str(caught.value) == told


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
