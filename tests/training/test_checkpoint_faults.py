"""Checkpoints under kills, power cuts, disks that refuse and flipped bits (D1 to D5). Each proof has a short form here, a
long one (`proof`), and planted faults that it must find."""

import errno
import os
import random
import shutil
import signal
from collections import Counter

import pytest
import torch
from safetensors import SafetensorError
from test_checkpoint import same, state
from training_toys import listen

from danlu.core import files
from danlu.core.events import Events
from danlu.training import checkpoint
from danlu.training.checkpoint import Checkpoints
from traced import ASKING, CHANGING, REFUSED, after_power_cuts, every_call, needs_strace, trace

ALL = (*CHANGING, *ASKING)
CLEAN_UP = "unlinkat,rmdir:error=EIO:when=1+"


@pytest.fixture
def two(tmp_path):
    """A folder with the checkpoints of steps 1 and 2."""
    torch.set_num_threads(1)
    folder = tmp_path.resolve() / "two"
    saved = Checkpoints(folder, "a", Events.silent())
    saved.save(state(1, 1))
    saved.save(state(2, 2))
    return folder


def save_third(folder):
    """What is examined: a training goes on from step 2 and saves step 3, with better weights."""
    saved = Checkpoints(folder, "a", Events.silent())
    assert saved.latest() is not None
    return lambda: saved.save(state(3, 3))


def look(folder):
    """The step that the next start finds (0: none), or `torn`; what it passed over; and bytes left that nobody needs."""
    events, heard = listen(Events)
    next_start = Checkpoints(folder, "a", events)
    orphans = sum(path.stat().st_size for left in folder.glob(".tmp-*") for path in left.iterdir())
    found = next_start.latest()
    step = found.step if found else 0
    return step if not step or same(found, state(step, step)) else "torn", len(heard), orphans


def calls_of(two, names):
    status, folder, calls = injected(two)
    assert status == 0
    assert look(folder) == (3, 0, 0)
    return every_call(calls, names)


def injected(two, *inject):
    """Save step 3 with these injections; returns the wait status, the folder and the calls."""
    folder = two.with_name("injected")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(two, folder)
    status, calls = trace(save_third(folder), two.with_name("trace"), *inject)
    return status, folder, calls


# ---- a kill at every call (D1, D2) -------------------------------------------------------------------------------------


def kills(two, stride):
    """How often the next start found what, over kills at every `stride`-th call to the file system."""
    found = Counter()
    for name, k in calls_of(two, ALL)[::stride]:
        status, folder, _ = injected(two, f"{name}:signal=SIGKILL:when={k}")
        assert status == signal.SIGKILL, (name, k)
        found[look(folder)] += 1
        Checkpoints(folder, "a", Events.silent()).save(state(4, 4))
        assert look(folder)[0] == 4
    return found


def in_place(monkeypatch):
    """Planted: a checkpoint is written under its final name."""
    monkeypatch.setattr(checkpoint, "temp_beside", lambda final: final)
    monkeypatch.setattr(checkpoint, "publish_dir", lambda temp, final: files.fsync_tree(final))
    nobody_sweeps(monkeypatch)


def nobody_sweeps(monkeypatch):
    """Planted: what was begun is never removed."""
    monkeypatch.setattr(checkpoint, "shutil", type("Keeping", (), {"rmtree": staticmethod(lambda path, **_: None)}))


def newest_alone(monkeypatch):
    """Planted: the newest is taken or none; the one before it is no longer tried."""
    real = Checkpoints._newest_first
    monkeypatch.setattr(Checkpoints, "_newest_first", lambda self: real(self)[:1])


@needs_strace
def test_a_kill_at_some_calls_of_a_save_loses_nothing(two):
    assert kills(two, stride=7).keys() <= {(2, 0, 0), (3, 0, 0)}


@needs_strace
@pytest.mark.proof
def test_a_kill_at_every_call_of_a_save_loses_nothing(two):
    found = kills(two, stride=1)
    assert found.keys() == {(2, 0, 0), (3, 0, 0)}
    assert found.total() > 90


@needs_strace
def test_kills_find_a_save_in_place_and_a_lost_fallback(two, monkeypatch):
    in_place(monkeypatch)
    assert any(warnings for _, warnings, _ in kills(two, stride=7))
    newest_alone(monkeypatch)
    assert any(step == 0 for step, _, _ in kills(two, stride=7))


# ---- a power cut after every call (D3) ---------------------------------------------------------------------------------


def violations(folder, calls, forget=(), since=0):
    """Numbers of calls after which a power cut loses step 2, or step 3 once it was reported; and the states looked at."""
    bad, seen = [], 0
    scratch = folder.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    for done, left in after_power_cuts(folder, folder.with_name("before"), calls, scratch, forget, since):
        seen += 1
        step, warnings, _ = look(left)
        reported = done == len(calls)
        if step not in ((3,) if reported else (2, 3)) or (reported and warnings):
            bad.append(done)
    return bad, seen


def traced_save(two):
    shutil.copytree(two, two.with_name("before"))
    status, calls = trace(save_third(two), two.with_name("trace"))
    assert status == 0
    return calls


@needs_strace
def test_a_power_cut_after_any_call_loses_nothing_and_every_fsync_is_needed(two):
    """And the planted faults: each of the seven fsyncs (five files, their folder, its parent) left out."""
    calls = traced_save(two)
    bad, seen = violations(two, calls)
    syncs = sum(call.name == "fsync" for call in calls)
    found = [bool(violations(two, calls, {k}, len(calls))[0]) for k in range(syncs)]
    assert bad == []
    assert seen > 60
    assert found == [True] * 7


@needs_strace
def test_a_power_cut_finds_an_fsync_missing_in_the_code(two, monkeypatch):
    monkeypatch.setattr(files, "fsync_dir", lambda folder: None)
    assert violations(two, traced_save(two))[0] != []


@needs_strace
def test_the_first_checkpoint_of_a_new_folder_survives_a_power_cut(tmp_path):
    root = tmp_path.resolve() / "root"
    (root / "there").mkdir(parents=True)
    shutil.copytree(root, root.with_name("before"))
    folder = root / "there" / "not" / "yet"
    status, calls = trace(lambda: Checkpoints(folder, "a", Events.silent()).save(state(3, 3)), root.with_name("trace"))
    assert status == 0
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    cuts = after_power_cuts(root, root.with_name("before"), calls, scratch, since=len(calls))
    assert [look(left / "there" / "not" / "yet") for _, left in cuts] == [(3, 0, 0)] * 2


# ---- a disk that refuses (D4) ------------------------------------------------------------------------------------------


def refusals(two, stride, *also):
    """What became of saves of which one call is refused, without space and with a fault: what was said, what is found."""
    said = Counter()
    for error in (errno.ENOSPC, errno.EIO):
        for name, k in calls_of(two, (*CHANGING, "getdents64", "read"))[::stride]:
            status, folder, _ = injected(two, f"{name}:error={errno.errorcode[error]}:when={k}", *also)
            assert os.WIFEXITED(status), (name, k, status)
            code = os.WEXITSTATUS(status)
            step, warnings, orphans = look(folder)
            what = {0: "saved", REFUSED: "refused"}.get(code, f"another error at {name} {k}")
            intact = step in ((3,) if code == 0 else (2, 3)) and not warnings
            said[
                what, "intact" if intact else f"found {step} at {name} {k}", "swept" if not orphans else "orphans"
            ] += 1
    return said


GOOD = {("saved", "intact", "swept"), ("refused", "intact", "swept")}


@needs_strace
def test_a_disk_that_refuses_some_calls_is_told_and_leaves_the_one_before(two):
    assert refusals(two, 6).keys() == GOOD


@needs_strace
@pytest.mark.proof
@pytest.mark.parametrize("also", [(), (CLEAN_UP,)], ids=["once", "and nothing can be removed"])
def test_a_disk_that_refuses_any_call_is_told_and_leaves_the_one_before(two, also):
    said = refusals(two, 1, *also)
    assert said.keys() == GOOD
    assert said.total() > 100


@needs_strace
def test_refusals_find_that_nobody_sweeps(two, monkeypatch):
    assert refusals(two, 9, CLEAN_UP).keys() == GOOD
    nobody_sweeps(monkeypatch)
    assert any(orphans == "orphans" for _, _, orphans in refusals(two, 9, CLEAN_UP))


@needs_strace
def test_a_folder_that_can_not_be_listed_is_not_taken_for_synced(two):
    status, folder, calls = injected(two, "getdents64:error=EIO:when=1")
    assert sum(call.name == "fsync" for call in calls) == 0
    assert os.WEXITSTATUS(status) == REFUSED
    assert look(folder) == (2, 0, 0)


# ---- flipped bits (D5) -------------------------------------------------------------------------------------------------


def undetected(two, flips):
    """Flips of one bit, anywhere in the newest checkpoint, with which it is loaded all the same: file and place."""
    chance, missed = random.Random(0), []
    paths = sorted((two / "step-0000000002").iterdir())
    for _ in range(flips):
        path = chance.choice(paths)
        whole = path.read_bytes()
        changed = bytearray(whole)
        place = chance.randrange(len(whole))
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            found = look(two)
        except (SafetensorError, KeyError):  # it was loaded, and no digest stopped it
            found = None
        if found != (1, 1, 0):
            missed.append((path.name, place))
        path.write_bytes(whole)
    assert look(two) == (2, 0, 0)
    return missed


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_found(two):
    assert undetected(two, 60) == []


@pytest.mark.proof
def test_a_thousand_flipped_bits_in_a_checkpoint_are_found(two):
    assert undetected(two, 1_000) == []


def test_flips_find_that_no_digest_is_compared(two, monkeypatch):
    same_for_all = "0" * 64
    monkeypatch.setattr(checkpoint, "sha256_file", lambda path: same_for_all)
    saved = Checkpoints(two, "a", Events.silent())
    shutil.rmtree(two)
    two.mkdir()
    saved.save(state(1, 1))
    saved.save(state(2, 2))
    assert len(undetected(two, 60)) > 10
