"""Artifacts under power cuts and disks that refuse, at every call of a commit (D3, D4), and flipped bits (D5)."""

import errno
import os
import random
import shutil
from collections import Counter

import pytest

from artifacts import KEY, drafts, fill
from danlu.core import artifact as module
from danlu.core import files
from danlu.core.artifact import Store
from danlu.core.errors import DataError
from traced import CHANGING, REFUSED, after_power_cuts, every_call, needs_strace, trace

OLD, NEW = {"a.txt": "old"}, {"a.txt": "new", "deep/b.txt": "2"}
CLEAN_UP = "unlinkat,rmdir:error=EIO:when=1+"


@pytest.fixture
def place(tmp_path):
    """A store that holds an artifact, which will be replaced."""
    place = tmp_path.resolve() / "store"
    fill(Store(place), files=OLD)
    return place


def look(place):
    """What the next start finds under the key: `old`, `new`, nothing or damaged; and whether a draft is left."""
    store = Store(place)
    store.sweep()
    try:
        found = store.find(KEY)
        if found:
            found.verify()
    except DataError:
        return "damaged", bool(drafts(store))
    what = {None: "nothing", tuple(OLD): "old", tuple(NEW): "new"}
    return what[found and tuple(found.manifest["files"])], bool(drafts(store))


def injected(place, *inject, whole=True):
    """Replace the artifact with these injections, or (not `whole`) the commit alone; returns the wait status, the
    store's folder and the calls."""
    folder = place.with_name("injected")
    for gone in (folder, place.with_name("before")):
        shutil.rmtree(gone, ignore_errors=True)
        shutil.copytree(place, gone)
    work = (lambda: fill(Store(folder), files=NEW)) if whole else ready(Store(folder)).commit
    status, calls = trace(work, place.with_name("trace"), *inject)
    return status, folder, calls


def ready(store):
    draft = store.draft(KEY, kind="model")
    (draft.path / "deep").mkdir()
    for name, text in NEW.items():
        (draft.path / name).write_text(text)
    return draft


def violations(folder, calls, forget=(), since=0):
    bad, seen, scratch = [], 0, folder.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    for done, left in after_power_cuts(folder, folder.with_name("before"), calls, scratch, forget, since):
        seen += 1
        if look(left) not in (("new", False), ("old" if done < len(calls) else "new", False)):
            bad.append(done)
    return bad, seen


@needs_strace
def test_a_power_cut_after_any_call_of_a_commit_leaves_the_old_or_the_new(place):
    """And the planted faults: all fsyncs of one file, of one folder in it or of its parent are left out."""
    status, folder, calls = injected(place)
    assert status == 0
    bad, seen = violations(folder, calls)
    assert bad == []
    assert seen > 60
    synced = [call.paths[0] for call in calls if call.name == "fsync"]
    draft = folder / "drafts" / KEY
    manifest = {k for k, path in enumerate(synced) if "/.tmp-" in path or path.endswith("manifest.json")}
    needed = [{k for k, path in enumerate(synced) if path == str(draft / name)} for name in (*NEW, "deep", "")]
    needed += [manifest, {k for k, path in enumerate(synced) if path == str(folder / "artifacts")}]
    for forget in needed:
        assert forget
        assert violations(folder, calls, forget, len(calls))[0] != []


@needs_strace
def test_a_power_cut_finds_an_fsync_missing_in_the_code(place, monkeypatch):
    monkeypatch.setattr(files, "fsync_tree", lambda folder: None)
    _, folder, calls = injected(place)
    assert violations(folder, calls)[0] != []


# ---- a disk that refuses -----------------------------------------------------------------------------------------------


def refusals(place, stride, *also):
    said = Counter()
    for error in (errno.ENOSPC, errno.EIO):
        calls = every_call(injected(place, whole=False)[2], (*CHANGING, "getdents64", "read"))
        for name, k in calls[::stride]:
            status, folder, _ = injected(place, f"{name}:error={errno.errorcode[error]}:when={k}", *also, whole=False)
            assert os.WIFEXITED(status), (name, k, status)
            code = os.WEXITSTATUS(status)
            what, left = look(folder)
            right = what == "new" or (code == REFUSED and what == "old")
            ended = {0: "made", REFUSED: "refused"}.get(code, f"another error at {name} {k}")
            said[ended, "intact" if right else f"{what} at {name} {k}", "left" if left else "swept"] += 1
    return said


GOOD = {("made", "intact", "swept"), ("refused", "intact", "swept")}


@needs_strace
def test_a_disk_that_refuses_some_calls_leaves_the_old_or_the_new(place):
    assert refusals(place, 9).keys() <= GOOD


@needs_strace
@pytest.mark.proof
@pytest.mark.parametrize("also", [(), (CLEAN_UP,)], ids=["once", "and nothing can be removed"])
def test_a_disk_that_refuses_any_call_leaves_the_old_or_the_new(place, also):
    said = refusals(place, 1, *also)
    assert said.keys() == GOOD
    assert said.total() > 100


@needs_strace
def test_refusals_find_that_nobody_sweeps(place, monkeypatch):
    monkeypatch.setattr(Store, "sweep", lambda self: None)
    assert any(left == "left" for _, _, left in refusals(place, 15, CLEAN_UP))


# ---- flipped bits ------------------------------------------------------------------------------------------------------


def undetected(place, flips):
    """Flips of one bit, anywhere in the artifact, with which it is read and verified all the same: file and place."""
    chance, missed = random.Random(0), []
    fill(Store(place), files={"weights.txt": "0123456789" * 20, "deep/b.txt": "2" * 50, "c.json": '{"a": 1}'})
    paths = sorted(path for path in (place / "artifacts" / KEY).rglob("*") if path.is_file())
    for _ in range(flips):
        path = chance.choice(paths)
        whole = path.read_bytes()
        changed = bytearray(whole)
        at = chance.randrange(len(whole))
        changed[at] ^= 1 << chance.randrange(8)
        path.chmod(0o644)
        path.write_bytes(changed)
        try:
            Store(place).find(KEY).verify()
            missed.append((path.name, at))
        except DataError:
            pass
        path.write_bytes(whole)
    Store(place).find(KEY).verify()
    return missed


def test_a_flipped_bit_anywhere_in_an_artifact_is_found(place):
    assert undetected(place, 60) == []


@pytest.mark.proof
def test_a_thousand_flipped_bits_in_an_artifact_are_found(place):
    assert undetected(place, 1_000) == []


def test_flips_find_that_no_digest_is_compared(place, monkeypatch):
    monkeypatch.setattr(module, "_sha256", lambda path: "0" * 64)
    assert len(undetected(place, 60)) > 10
