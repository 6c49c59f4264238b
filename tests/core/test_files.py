import errno
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.core import files
from danlu.core.errors import DataError, MachineError

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refuse(number):
    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


def test_sha256(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_bytes(b"danlu" * 100_000)
    assert files.sha256_file(tmp_path / "empty") == files.sha256_bytes(b"") == EMPTY
    assert files.sha256_file(tmp_path / "full") == files.sha256_bytes(b"danlu" * 100_000)


def test_write_atomic_writes_text_and_bytes_and_replaces(tmp_path):
    files.write_atomic(tmp_path / "a.txt", "丹炉")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "丹炉"
    files.write_atomic(tmp_path / "a.txt", b"\x00\xff")
    assert (tmp_path / "a.txt").read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["a.txt"]


def test_write_atomic_obeys_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_atomic(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_write_atomic_says_where_no_file_can_be(tmp_path):
    (tmp_path / "a").write_text("a file")
    (tmp_path / "b").mkdir()
    for parent in ("none", "a"):
        with pytest.raises(MachineError, match="no such folder to write into") as caught:
            files.write_atomic(tmp_path / parent / "x", "new")
        assert caught.value.where == str(tmp_path / parent)
    with pytest.raises(MachineError, match="it is a folder"):
        files.write_atomic(tmp_path / "b", "new")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG])
def test_a_refusing_disk_is_a_machine_error_and_the_old_file_stays(tmp_path, monkeypatch, number):
    path = tmp_path / "a.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", refuse(number))
    with pytest.raises(MachineError, match=r"could not write: .* MB free") as caught:
        files.write_atomic(path, "new")
    assert caught.value.where == str(path)
    assert caught.value.do
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_other_errors_pass_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.EBADF))
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.write_atomic(tmp_path / "a", "new")
    assert names(tmp_path) == []


def test_the_disk_is_really_full(tmp_path):
    """A file-size limit in a process of its own: the kernel refuses, not a mock."""
    code = (
        "import resource, sys; from pathlib import Path; from danlu.core import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: files.write_atomic(Path(sys.argv[1]) / 'a', b'x' * 100_000)\n"
        "except Exception as fault: print(type(fault).__name__, fault.what)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MachineError could not write: File too large")
    assert names(tmp_path) == []


def trace(monkeypatch):
    """Record the order of fsync and rename by name."""
    seen = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def record_fsync(handle):
        seen.append(("fsync", Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def record(name, call):
        def move(self, target):
            seen.append((name, Path(target)))
            return call(self, target)

        return move

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record("rename", replace))
    monkeypatch.setattr(Path, "rename", record("rename", rename))
    return seen


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_write_atomic_syncs_the_file_then_renames_then_syncs_the_folder(tmp_path, monkeypatch):
    seen = trace(monkeypatch)
    files.write_atomic(tmp_path / "a", "x")
    (first, temp), *rest = seen
    assert (first, temp.parent, temp.name[:5]) == ("fsync", tmp_path, ".tmp-")
    assert rest == [("rename", tmp_path / "a"), ("fsync", tmp_path)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_publish_dir_syncs_all_then_renames_then_syncs_the_parent(tmp_path, monkeypatch):
    (tmp_path / "temp/deep").mkdir(parents=True)
    (tmp_path / "temp/deep/a").write_text("x")
    (tmp_path / "temp/b").write_text("y")
    seen = trace(monkeypatch)
    files.publish_dir(tmp_path / "temp", tmp_path / "final")
    synced = [path.relative_to(tmp_path).as_posix() for _, path in seen[:4]]
    assert synced == ["temp/deep/a", "temp/deep", "temp/b", "temp"]
    assert seen[4:] == [("rename", tmp_path / "final"), ("fsync", tmp_path)]
    assert (tmp_path / "final/deep/a").read_text() == "x"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_make_dirs_makes_every_folder_durable(tmp_path, monkeypatch):
    seen = trace(monkeypatch)
    files.make_dirs(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
    assert seen == [("fsync", tmp_path), ("fsync", tmp_path / "a"), ("fsync", tmp_path / "a/b")]
    files.make_dirs(tmp_path / "a/b/c")
    assert len(seen) == 3


def test_make_dirs_where_a_file_is(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below/it"):
        with pytest.raises(MachineError, match="a file is where a folder is needed"):
            files.make_dirs(folder)


@pytest.mark.parametrize("there", ["full folder", "empty folder", "file", "dangling link"])
def test_publish_dir_never_replaces(tmp_path, there):
    temp, final = tmp_path / "temp", tmp_path / "final"
    temp.mkdir()
    (temp / "a").write_text("mine")
    if there == "file":
        final.touch()
    elif there == "dangling link":
        final.symlink_to(tmp_path / "nowhere")
    else:
        final.mkdir()
        if there == "full folder":
            (final / "a").write_text("theirs")
    with pytest.raises(FileExistsError, match="final"):
        files.publish_dir(temp, final)
    assert (temp / "a").read_text() == "mine"


def test_publish_dir_tells_when_another_process_was_quicker(tmp_path, monkeypatch):
    temp, final = tmp_path / "temp", tmp_path / "final"
    for folder in (temp, final):
        folder.mkdir()
        (folder / "a").write_text(folder.name)
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    with pytest.raises(FileExistsError, match="final"):
        files.publish_dir(temp, final)
    assert (final / "a").read_text() == "final"


def add_one(folder, times):
    for _ in range(times):
        with files.locked(folder / "lock"):
            count = int((folder / "count").read_text())
            (folder / "count").write_text(str(count + 1))


def test_locked_keeps_processes_apart(tmp_path):
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add_one, args=(tmp_path, 200)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "count").read_text() == "800"


def test_locked_without_waiting_and_shared(tmp_path):
    lock = tmp_path / "lock"
    with files.locked(lock), pytest.raises(BlockingIOError, match="unavailable"), files.locked(lock, wait=False):
        pass
    shared = files.locked(lock, shared=True), files.locked(lock, shared=True, wait=False)
    with shared[0], shared[1], pytest.raises(BlockingIOError, match="unavailable"), files.locked(lock, wait=False):
        pass
    with files.locked(lock, wait=False):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from danlu.core import files\n"
        "with files.locked(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")]).returncode == -9
    with files.locked(tmp_path / "lock", wait=False):
        pass


def test_link_or_copy_links(tmp_path):
    (tmp_path / "a").write_text("x")
    files.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")
    with pytest.raises(FileExistsError, match="exists"):
        files.link_or_copy(tmp_path / "a", tmp_path / "b")


def test_link_or_copy_copies_where_links_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o444)
    monkeypatch.setattr(Path, "hardlink_to", refuse(errno.EXDEV))
    files.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "x"
    assert not (tmp_path / "a").samefile(tmp_path / "b")
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o444


@pytest.mark.parametrize(
    "name", ["a", "a/b.json", "a/b/c", "%2e%2e", "丹/炉.txt", "..a", "a..", "-rf", "a b", ".hidden"]
)
def test_safe_join_allows_plain_paths(tmp_path, name):
    assert files.safe_join(tmp_path, name) == tmp_path.resolve() / name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/", "//", "/etc/passwd", "//etc/passwd", "../a", "a/..", "a/../b", "a/../../b", "./a", "a/./b",
        "a/", "a//b", "a\\b", "..\\a", "C:\\a", "\\\\host\\share", "a\0b", "a\nb", "a\tb", "\x7f", "a\u202eb", "a\x00/../b",
        "file:///etc/passwd", "\udc80",
    ],
)  # fmt: skip
def test_safe_join_refuses(tmp_path, name):
    with pytest.raises(DataError, match="not a plain path"):
        files.safe_join(tmp_path, name)


def test_safe_join_follows_links_only_inside(tmp_path):
    root = tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "rooted").mkdir()
    (root / "good").symlink_to(root / "inside")
    (root / "bad").symlink_to(tmp_path / "outside")
    (root / "sly").symlink_to("../rooted")
    (root / "self").symlink_to(root)
    (root / "loop").symlink_to(root / "loop")
    assert files.safe_join(root, "good/a") == root.resolve() / "inside/a"
    for name in ("bad", "bad/a", "sly/a", "self"):
        with pytest.raises(DataError, match="leads out"):
            files.safe_join(root, name)
    with pytest.raises(DataError, match="cannot be resolved"):
        files.safe_join(root, "loop/a")


def test_safe_join_below_a_root_that_is_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert files.safe_join(tmp_path / "link", "a") == (tmp_path / "real").resolve() / "a"


def test_a_folder_that_can_not_be_made_is_the_machines_fault(tmp_path):
    with pytest.raises(MachineError, match=r"the folder can't be made: File name too long\n  → choose another place"):
        files.make_dirs(tmp_path / "a" / ("x" * 300))
    if Path("/proc/self").exists():
        with pytest.raises(MachineError, match=r"^/proc/nope: the folder can't be made: No such file or directory"):
            files.make_dirs(Path("/proc/nope/x"))
