"""`danlu run` on data while it is killed, beside another one, and on a full disk: all of a data set, or nothing."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.core.artifact import Artifact

DEADLY = Path(__file__).with_name("deadly.py")
RECIPE = """
steps:
  data:
    do: prepare
    source: {csv: rows.csv}
    task: text_classification
    operators: [normalize, drop_empty, deadly, drop_duplicates]
"""
FILES = ("dataset.json", "journal.parquet", "train.parquet", "validation.parquet", "test.parquet")


@pytest.fixture
def folder(tmp_path):
    rows = [f"the film came with one more {k * 7919**3 % 999983},{'ab'[k % 2]}\n" for k in range(3000)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "my.yaml").write_text(RECIPE)
    return tmp_path


def start(folder, store, **options):
    command = [sys.executable, "-m", "danlu", "run", "my.yaml", "--import", str(DEADLY), "--store", str(store)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def end(started):
    said, _ = started.communicate(timeout=120)
    return started.returncode, said


def made(store):
    """The files of the one data set in a store."""
    (one,) = (store / "artifacts").iterdir()
    return [(Artifact.read(one).path / name).read_bytes() for name in FILES]


def test_a_killed_run_leaves_no_data_set_and_the_next_makes_the_same(folder):
    env = os.environ | {"DEADLY": str(folder / "killed"), "DANLU_WORKERS": "1"}
    killed = start(folder, folder / "one", env=env)
    assert end(killed)[0] == -signal.SIGKILL
    assert list((folder / "one" / "drafts").iterdir())
    assert not list((folder / "one").glob("artifacts/*"))
    assert end(start(folder, folder / "one", env=env))[0] == 0
    assert end(start(folder, folder / "other"))[0] == 0
    assert made(folder / "one") == made(folder / "other")
    assert not list((folder / "one" / "drafts").iterdir())


def test_two_runs_at_once_make_one_data_set(folder):
    both = [end(started) for started in [start(folder, folder / "store") for _ in range(2)]]
    assert [code for code, _ in both] == [0, 0]
    assert sorted("steps: all 1 reused" in said for _, said in both) == [False, True]
    assert made(folder / "store")


def test_a_file_that_can_not_grow_leaves_nothing_half_written(folder):
    small = start(folder, folder / "store", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000,) * 2))
    code, said = end(small)
    assert (code, "could not write: File too large" in said, "ulimit -f" in said) == (4, True, True)
    assert not list((folder / "store").glob("artifacts/*"))
    assert not list((folder / "store").glob("drafts/*"))
    assert end(start(folder, folder / "store"))[0] == 0
