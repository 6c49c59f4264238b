"""Small artifacts, and a store of a test's own for them."""

import os
import signal

import pytest

from danlu.core.artifact import Store

KEY = "ab" * 32
CALLS = ("fsync", "rename", "replace", "rmdir", "unlink", "mkdir", "chmod")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def fill(store, key=KEY, files=None, *, inputs=None, kind="model"):
    """Commit an artifact with these files."""
    with store.lock(key):
        draft = store.draft(key, kind=kind, step="tuned", stage="finetune", settings={"lr": 0.1}, inputs=inputs or {})
        for name, text in (files or {"weights.txt": "1 2 3", "deep/er/config.json": '{"a": 1}'}).items():
            path = draft.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        draft.numbers["loss"] = 0.5
        draft.notes.append("a note")
        return draft.commit()


def drafts(store):
    return list((store.path / "drafts").glob("*"))


def change(path, text):
    path.chmod(0o644)
    path.write_text(text)


def told(artifact):
    return {"key": artifact.key, "digest": artifact.digest, "kind": artifact.kind, "step": "tuned"}


def child(store, countdown, work):
    """A child process that does `work` and kills itself just before its call number `countdown` to the disk."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    left = [countdown]

    def counted(real):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    try:
        work(store)
    finally:
        os._exit(0)


def kill_at_every_call(store, work):
    """Run `work` in children, killed before the first, the second, … call, until one is not killed; yields after each kill."""
    for countdown in range(1, 500):
        if child(store, countdown, work) == 0:
            return
        yield countdown
