"""Many writers at once, killed writers, and that the checks for both can fail (`benchmarks/registry_writers.py`)."""

import itertools
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from danlu.core.errors import GateError
from danlu.core.files import locked
from danlu.registry.store import Registry

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "registry_writers.py"


def measure(*options):
    done = subprocess.run([sys.executable, BENCHMARK, *options], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["kept"] == (done.returncode == 0)
    return result


def test_writers_at_once_get_every_number_once():
    result = measure("--writers", "8", "--versions", "12")
    assert (result["versions"], result["distinct"], result["errors"], result["faults"]) == (96, 96, 0, [])


@pytest.mark.proof
def test_8_writers_of_50_versions():
    result = measure("--writers", "8", "--versions", "50")
    assert (result["versions"], result["distinct"], result["errors"], result["faults"]) == (400, 400, 0, [])


def test_planted_maximum_plus_one_without_a_lock_is_seen():
    result = measure("--fault", "naive", "--writers", "8", "--versions", "25")
    assert not result["kept"]
    assert "given twice" in result["faults"][0]


def test_planted_deferred_transaction_is_seen():
    result = measure("--fault", "deferred", "--writers", "8", "--versions", "12")
    assert not result["kept"]
    assert "database is locked" in result["first_error"]


def test_killed_writers_leave_every_acknowledged_version_whole():
    result = measure("--kills", "20")
    assert result["kept"], result
    assert result["acknowledged"] >= 20


def test_planted_record_before_its_files_is_seen():
    result = measure("--kills", "12", "--fault", "early")
    assert not result["kept"]
    assert "is damaged or missing" in result["faults"][0]


def kill(store, folder, *steps):
    """How many writers were killed."""
    command = [sys.executable, Path(__file__).with_name("killed_writer.py"), store, folder, *steps]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_killed_at_every_step_of_a_publication(tmp_path, model):
    """Each writer dies one step later than the one before it, in the same store, and finds what that one left."""
    folder, store = model(), tmp_path / "store"
    assert kill(store, folder, "all") > 100
    registry = Registry(store)
    (version,) = registry.versions()
    registry.verify(version)
    registry.open(version)
    assert registry.check_audit() == 1
    registry.clean()
    assert {path.name for path in registry.blobs.stored()} == {file.sha256 for file in version.files.values()}
    assert {path.name for path in (store / "versions").iterdir()} == {version.digest}


@pytest.mark.parametrize("step", range(1, 260, 13))
def test_killed_in_an_empty_store(tmp_path, model, step):
    """A fresh store each time, so that making the database is among what is interrupted."""
    folder, store = model(), tmp_path / "store"
    assert kill(store, folder, str(step)) == 1
    registry = Registry(store)
    for version in registry.versions():
        registry.verify(version)
    assert registry.publish("reviews", folder, metadata={}).number == 1
    assert registry.check_audit() == 1


MOVE = """
import sys
from pathlib import Path
from danlu.core.errors import GateError
from danlu.registry.store import Registry

registry, me = Registry(Path(sys.argv[1])), sys.argv[2]
won = 0
while won < 25:
    present = registry.aliases("reviews").get("production")
    try:
        registry.move("reviews", "production", to=3 - (present or 2), expect=present, actor=me)
        won += 1
    except GateError:
        pass
"""


def test_movers_at_once_never_overwrite_one_another(registry, publish):
    """Four processes flip an alias between 1 and 2: what each saw before its move is what the history says."""
    publish("a", "b")
    movers = [subprocess.Popen([sys.executable, "-c", MOVE, registry.store, f"mover{k}"]) for k in range(4)]
    assert [mover.wait() for mover in movers] == [0] * 4
    moves = registry.audit("reviews", "production")
    assert [(e.before, e.after) for e in moves[:3]] == [(None, 1), (1, 2), (2, 1)]
    assert all(a.after == b.before != b.after for a, b in itertools.pairwise(moves))
    assert sorted(e.actor for e in moves) == [f"mover{k}" for k in range(4) for _ in range(25)]
    assert registry.check_audit() == 102


def test_only_one_of_many_wins_a_move(registry, publish):
    publish("a", "b")
    registry.move("reviews", "production", to=1)
    barrier, won, lost = threading.Barrier(8), [], []

    def move(k):
        barrier.wait()
        try:
            won.append(registry.move("reviews", "production", to=2, expect=1, actor=f"thread{k}"))
        except GateError as fault:
            lost.append(str(fault))

    threads = [threading.Thread(target=move, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert all(f"found reviews@2; {won[0].actor} moved it" in fault for fault in lost)


def test_clean_waits_for_writers_and_removes_nothing_of_theirs(registry, publish, model, tmp_path):
    """A writer stops between its files and its record; `clean` must not take the files for garbage."""
    publish("a")
    code = (
        "import sys; from pathlib import Path; from danlu.registry import store\n"
        "put = store.Registry._put\n"
        "def slow(self, folder, paths):\n"
        "    files = put(self, folder, paths); print('stored', flush=True); sys.stdin.readline(); return files\n"
        "store.Registry._put = slow\n"
        "store.Registry(Path(sys.argv[1])).publish('reviews', Path(sys.argv[2]), metadata={})"
    )
    command = [sys.executable, "-c", code, registry.store, model("b")]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "stored\n"
    found = []
    cleaner = threading.Thread(target=lambda: found.append(registry.clean()))
    cleaner.start()
    cleaner.join(0.3)
    assert cleaner.is_alive()
    writer.communicate("go\n")
    cleaner.join()
    assert found[0].files == {}
    registry.verify(registry.resolve("reviews@2"))


def test_clean_after_a_writer_was_killed_before_its_record(registry, publish, model):
    publish("a")
    before = set(registry.blobs.stored())
    assert kill(registry.store, model("b"), "1", "_commit_impl") == 1
    assert len(registry.versions()) == 1
    assert set(registry.blobs.stored()) > before
    freed = registry.clean()
    assert freed.size == (model("b") / "bundle.json").stat().st_size
    assert set(registry.blobs.stored()) == before


def test_the_lock_of_a_killed_writer_is_free(registry, publish, model):
    publish("a")
    lock = registry.blobs.folder / ".lock"
    code = (
        "import os, signal, sys; from pathlib import Path; from danlu.core.files import locked\n"
        "with locked(Path(sys.argv[1]), shared=True): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, lock]).returncode == -signal.SIGKILL
    with locked(lock, wait=False):
        pass
