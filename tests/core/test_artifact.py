import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from artifacts import KEY, change, drafts, fill, kill_at_every_call, store, told  # noqa: F401 - a fixture
from danlu.core import artifact as module
from danlu.core.artifact import Artifact, Store
from danlu.core.errors import DataError, MachineError, RecipeError


def test_what_was_committed_is_found_again(store):
    made = fill(store)
    found = store.find(KEY)
    assert found == made
    assert (found.kind, found.key, found.numbers) == ("model", KEY, {"loss": 0.5})
    assert found.file("weights.txt").read_text() == "1 2 3"
    assert found.json("deep/er/config.json") == {"a": 1}
    found.verify()
    assert {k: found.manifest[k] for k in ("format", "step", "stage", "settings", "inputs", "notes")} == {
        "format": 1, "step": "tuned", "stage": "finetune", "settings": {"lr": 0.1}, "inputs": {}, "notes": ["a note"],
    }  # fmt: skip
    assert found.manifest["files"]["weights.txt"]["size"] == 5
    assert found.manifest["machine"]["cores"] >= 1
    assert not drafts(store)
    assert not list((store.path / "work").iterdir())


def test_the_digest_says_what_came_out_and_nothing_else(store):
    one = fill(store, "1" * 64)
    same = fill(store, "2" * 64)
    other = fill(store, "3" * 64, {"weights.txt": "1 2 4", "deep/er/config.json": '{"a": 1}'})
    renamed = fill(store, "4" * 64, {"weights2.txt": "1 2 3", "deep/er/config.json": '{"a": 1}'})
    kind = fill(store, "5" * 64, kind="scores")
    assert one.digest == same.digest
    assert len({one.digest, other.digest, renamed.digest, kind.digest}) == 4


def test_nothing_is_there_before_the_first_write(store):
    assert store.find(KEY) is None
    assert store.artifacts() == []
    assert store.clean().bytes == 0
    assert not store.path.exists()
    store.draft(KEY)
    assert (store.path / ".gitignore").read_text() == "*\n"


def test_a_draft_begins_empty_whatever_a_killed_one_left(store):
    (store.draft(KEY, kind="x").path / "half").write_text("x")
    assert list(store.draft(KEY, kind="x").path.iterdir()) == []


def test_a_draft_that_is_abandoned_leaves_only_its_checkpoints(store):
    draft = store.draft(KEY)
    (draft.path / "half").write_text("x")
    (draft.work / "checkpoint").write_text("3")
    draft.abandon()
    assert store.find(KEY) is None
    assert not draft.path.exists()
    assert (store.work(KEY) / "checkpoint").read_text() == "3"


def test_a_file_that_is_not_there_is_named_with_the_nearest(store):
    made = fill(store)
    with pytest.raises(DataError, match=r"this model has no file weight.txt; did you mean weights.txt\?"):
        made.file("weight.txt")
    with pytest.raises(DataError, match=r"this model has no file \.\./manifest.json"):
        made.file("../manifest.json")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda path: change(path / "weights.txt", "1 2 4"), "its file weights.txt was changed after it was made"),
        (lambda path: change(path / "weights.txt", "1 2 3 4"), "its file weights.txt was changed"),
        (lambda path: (path / "weights.txt").unlink(), "its file weights.txt is gone"),
        (lambda path: (path / "deep" / "new.txt").write_text(""), "the file deep/new.txt was added"),
        (lambda path: (path / "link").symlink_to("weights.txt"), "it is neither a file nor a folder"),
    ],
)
def test_an_artifact_edited_by_hand_is_refused_and_named(store, act, message):
    made = fill(store)
    made.verify()
    act(made.path)
    with pytest.raises(DataError, match=message):
        made.verify()
    with pytest.raises(DataError, match=KEY):
        store.find(KEY).verify()


def test_one_byte_changed_with_all_times_set_back_is_refused(store):
    made = fill(store)
    made.verify()
    path = made.path / "weights.txt"
    times = path.stat()
    change(path, "1 2 4")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError, match="was changed after it was made"):
        made.verify()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["numbers"].update(loss=0.1), "was changed after it was made"),
        (lambda m: m["settings"].update(lr=1), "was changed after it was made"),
        (lambda m: m.pop("seal"), "was changed after it was made"),
        (lambda m: m.update(format=99), "it was made by a newer Danlu"),
        (lambda m: m.pop("format"), "can't be read"),
    ],
)
def test_a_manifest_edited_by_hand_is_refused(store, edit, message):
    path = fill(store).path / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    change(path, json.dumps(manifest))
    with pytest.raises(DataError, match=message):
        store.find(KEY)


def test_a_manifest_that_is_no_json_is_refused_with_the_mend(store):
    path = fill(store).path / "manifest.json"
    change(path, "{")
    with pytest.raises(DataError, match=r"its manifest.json can't be read(?s:.*)→ rm -r .*the next run makes it anew"):
        store.find(KEY)


def test_files_of_an_artifact_are_read_only(store):
    assert (fill(store).path / "weights.txt").stat().st_mode & 0o222 == 0


def test_a_link_or_a_manifest_of_its_own_can_not_be_part_of_an_artifact(store):
    draft = store.draft(KEY, kind="x")
    (draft.path / "link").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"link: it is neither a file nor a folder"):
        draft.commit()
    draft = store.draft(KEY, kind="x", stage="mine")
    (draft.path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"mine: a stage may not write manifest.json"):
        draft.commit()
    assert store.find(KEY) is None


def test_an_artifact_is_replaced_when_it_is_made_again(store):
    fill(store, files={"a.txt": "old"})
    fill(store, files={"b.txt": "new"})
    found = store.find(KEY)
    found.verify()
    assert list(found.manifest["files"]) == ["b.txt"]
    assert not drafts(store)


def test_a_prefix_of_key_or_digest_opens_an_artifact(store):
    first = fill(store, "1a" * 32, {"a": "1"})
    fill(store, "1b" * 32, {"a": "2"})
    assert store.open("1a1a") == first
    assert store.open(first.digest[:20]) == first
    with pytest.raises(RecipeError, match=r"'1' begins the names of 2 artifacts\n  → give more"):
        store.open("1")
    for prefix in ("zz", ""):
        with pytest.raises(RecipeError, match="there is no artifact"):
            store.open(prefix)


def test_parents_are_the_inputs_that_are_still_there(store):
    data = fill(store, "1" * 64, {"a": "1"}, kind="dataset")
    gone = {"key": "9" * 64, "digest": "9" * 64, "kind": "x", "step": "y"}
    model = fill(store, "2" * 64, inputs={"dataset": told(data), "lost": gone})
    assert model.parents(store) == {"dataset": data}


def test_numbers_of_any_kind_are_kept_as_json(store):
    import numpy as np

    draft = store.draft(KEY, kind="scores")
    draft.numbers.update(a=np.float32(0.5), b=float("nan"), c=np.arange(2), d={"e": (1, 2)})
    assert draft.commit().numbers == {"a": 0.5, "b": None, "c": [0, 1], "d": {"e": [1, 2]}}


# ---- where the store is ---------------------------------------------------------------------------------------------------


def test_the_store_is_the_one_named_else_the_environments_else_the_nearest_else_a_new_one(tmp_path, monkeypatch):
    monkeypatch.delenv("DANLU_STORE", raising=False)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert Store.locate(near=deep).path == deep / ".danlu"
    (tmp_path / "a" / ".danlu").mkdir()
    assert Store.locate(near=deep).path == tmp_path / "a" / ".danlu"
    monkeypatch.chdir(deep)
    assert Store.locate().path == tmp_path / "a" / ".danlu"
    monkeypatch.setenv("DANLU_STORE", str(tmp_path / "env"))
    assert Store.locate(near=deep).path == tmp_path / "env"
    assert Store.locate(tmp_path / "named", deep).path == tmp_path / "named"
    (tmp_path / "env").write_text("a file")
    with pytest.raises(RecipeError, match=r"(?s)env: the store is a folder, and this is a file.*--store FOLDER"):
        Store.locate(near=deep)


# ---- disks and kills ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["write_atomic", "publish_dir"])
def test_a_full_disk_leaves_nothing_half_written_and_says_how_much_is_free(store, monkeypatch, place):
    draft = store.draft(KEY, kind="model")
    (draft.path / "weights").write_text("x")
    (draft.work / "checkpoint").write_text("3")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, place, full)
    with pytest.raises(MachineError, match=r"could not write: No space left on device \(.* MB free\)"):
        draft.commit()
    draft.abandon()
    assert store.find(KEY) is None
    assert store.artifacts() == []
    assert not drafts(store)
    assert (store.work(KEY) / "checkpoint").read_text() == "3"


def test_a_kill_at_any_moment_of_a_commit_leaves_all_or_nothing(store):
    killed = 0
    for _ in kill_at_every_call(store, fill):
        killed += 1
        found = store.find(KEY)
        if found:
            found.verify()
        store.sweep()
        assert not drafts(store)
        made = fill(store)
        made.verify()
        shutil.rmtree(store.path)
    assert killed >= 30


def test_a_kill_while_one_is_replaced_leaves_the_old_or_the_new(store):
    killed = 0
    fill(store, files={"a": "old"})
    for _ in kill_at_every_call(store, lambda store: fill(store, files={"a": "new"})):
        killed += 1
        store.sweep()
        found = store.find(KEY)
        found.verify()
        assert found.file("a").read_text() in ("old", "new")
        assert not drafts(store)
        shutil.rmtree(store.path)
        fill(store, files={"a": "old"})
    assert killed >= 20


def test_a_living_draft_is_not_swept(store):
    with store.lock(KEY):
        draft = store.draft(KEY)
        (draft.path / "half").write_text("x")
        store.sweep()
        assert (draft.path / "half").exists()
    store.sweep()
    assert not draft.path.exists()


def test_an_artifact_that_was_moved_is_read_where_it_is(store, tmp_path):
    made = fill(store)
    shutil.copytree(made.path, tmp_path / "copy")
    Artifact.read(tmp_path / "copy").verify()
    assert isinstance(Artifact.read(tmp_path / "copy").path, Path)
