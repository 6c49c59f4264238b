"""A disk that refuses, at every call and for real: a clear error, nothing half-written, and the next attempt works."""

import errno
import os
import random
import shutil
import subprocess
import sys

import pytest

from danlu.core.errors import MachineError
from danlu.registry.store import Registry

CALLS = ["fsync", "fchmod", "chmod", "link", "mkdir", "rename", "replace", "open"]


def leftovers(store):
    return [path for path in store.rglob("*") if path.name.startswith(".tmp-") or path.name.endswith(".new")]


def small(folder):
    """Leave two files and two folders of a model."""
    for path in folder.glob("*.*"):
        if path.name != "bundle.json":
            path.unlink()
    return folder


def attempt(registry, folder):
    try:
        version = registry.publish("reviews", folder, metadata={"note": "x" * 3_000})
        return f"{version.reference} in {registry.open(version)}"
    except MachineError as fault:
        return str(fault)


@pytest.mark.parametrize(("number", "stride"), [(errno.ENOSPC, 1), (errno.EIO, 7), (errno.EROFS, 11)])
def test_a_refusal_at_every_call(tmp_path, model, monkeypatch, number, stride):
    """The k-th call that touches the disk is refused, for k = 1, 2, 3 … until none is; also every seventh otherwise."""
    folder, left = small(model()), 0
    real = {name: getattr(os, name) for name in CALLS}

    def refusing(name):
        def call(*values, **named):
            nonlocal left
            left -= name != "open" or bool(values[1] & os.O_CREAT)  # opening to read needs no space
            if left == 0:
                left = -1
                raise OSError(number, os.strerror(number), str(values[0]))
            return real[name](*values, **named)

        return call

    for k in range(1, 1000, stride):
        store = tmp_path / f"store{k}"
        registry = Registry(store)
        left = k
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, refusing(name))
            said = attempt(registry, folder)
        assert "reviews@1" in said or os.strerror(number) in said, said
        if left > 0:
            break
        assert leftovers(store) == [], k
        version = registry.publish("reviews", folder, metadata={})
        assert version.number == 1
        registry.open(version)
        registry.verify(version)
        assert registry.clean().files == {}
        assert leftovers(store) == []
        shutil.rmtree(store, ignore_errors=True)
    assert k > 30  # enough calls were refused to have met every kind


LIMITED = """
import resource, sys
from pathlib import Path
from danlu.core.errors import DanluError
from danlu.registry.store import Registry

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    print(Registry(Path(sys.argv[1])).publish("reviews", Path(sys.argv[2]), metadata={"note": "x" * 50_000}).number)
except DanluError as fault:
    print(type(fault).__name__, fault)
"""


@pytest.mark.parametrize("limit", [100, 1_000, 40_000, 75_000])
def test_the_kernel_refuses_a_file_or_the_log_of_the_database(registry, publish, tmp_path, limit):
    """A limit on file sizes: the smaller ones stop a blob, the greater ones the record of the version."""
    (first,) = publish("a")
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "notes.txt").write_text("x" * 500)
    command = [sys.executable, "-c", LIMITED, registry.store, folder, str(limit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("MachineError"), said
    assert registry.versions() == [first] or [v.number for v in registry.versions()] == [1]
    assert leftovers(registry.store) == []
    registry.verify(first)
    assert registry.publish("reviews", folder, metadata={}).number == 2
    assert registry.check_audit() == 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]).returncode:
        pytest.skip("may not mount a tmpfs here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_really_full(small_disk, tmp_path):
    registry, chance = Registry(small_disk / "store"), random.Random(0)
    folder = tmp_path / "model"
    folder.mkdir()
    said = []
    for _ in range(60):
        (folder / "notes.txt").write_text("".join(chance.choices("abcdef", k=chance.choice([300, 30_000, 90_000]))))
        said.append(attempt(registry, folder))
    published = [int(line.partition("@")[2].split()[0]) for line in said if line.startswith("reviews@")]
    assert 5 < len(published) < 50
    assert all("free" in line for line in said if not line.startswith("reviews@"))
    there = registry.versions()
    assert [v.number for v in there] == list(range(len(there), 0, -1))
    assert {v.number for v in there} >= set(published)
    for version in there:
        registry.verify(version)
    assert registry.check_audit() == len(there)
    registry.clean()
    assert leftovers(registry.store) == []


def test_a_disk_that_cannot_be_written_can_be_read(small_disk, model):
    registry = Registry(small_disk / "store")
    version = registry.publish("reviews", model(), metadata={})
    registry.move("reviews", "production", to=1)
    opened = registry.open(version)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    fresh = Registry(small_disk / "store")
    assert fresh.open(fresh.resolve("reviews")) == opened
    fresh.verify(version)
    with pytest.raises(MachineError, match="Read-only file system"):
        fresh.publish("reviews", model("b"), metadata={})
    with pytest.raises(MachineError, match="unable to open database file"):
        fresh.move("reviews", "staging", to=1)
