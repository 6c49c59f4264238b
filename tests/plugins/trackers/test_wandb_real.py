"""The folder that the library itself writes, offline, read back record by record."""

import os
import struct
import subprocess
import sys

_BLOCK = 32768
_RUN = """
from danlu.core.events import Event
from danlu.plugins.trackers.wandb import Wandb
tracker = Wandb(folder={folder!r})
for kind, step, data in {told!r}:
    tracker.on(Event(1.0, step, kind, data))
tracker.close()
"""


def records(path):
    """The records of a `.wandb` file: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := _BLOCK - place % _BLOCK) < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def test_the_librarys_own_file_holds_curves_and_results(tmp_path):
    told = [
        ("run_started", "", {"id": "7", "name": "try", "store": "", "steps": {}}),
        ("numbers", "tuned", {"step": 10, "loss": 0.5, "lr": float("inf"), "word": "x"}),
        ("numbers", "tuned", {"step": 20, "loss": 0.25}),
        ("step_done", "tuned", {"numbers": {"mfu": 0.5, "in": {"best": 1}}, "seconds": 2.0}),
    ]
    script = _RUN.format(folder=str(tmp_path / "new"), told=told).replace("inf", "float('inf')")
    env = {**os.environ, "HOME": str(tmp_path), "WANDB_CACHE_DIR": str(tmp_path / "cache"), "WANDB_DIR": ""}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    [path] = (tmp_path / "new/wandb").glob("offline-run-*/run-*.wandb")
    found = list(records(path))
    [begun] = [r.run for r in found if r.WhichOneof("record_type") == "run"]
    assert (begun.project, begun.display_name) == ("danlu", "try-7")
    curves = [
        {item.key or "/".join(item.nested_key): item.value_json for item in r.history.item}
        for r in found
        if r.WhichOneof("record_type") == "history"
    ]
    assert [(c["tuned/loss"], c["tuned/step"]) for c in curves] == [("0.5", "10"), ("0.25", "20")]
    assert not any("tuned/lr" in c or "tuned/word" in c for c in curves)
    ends = {
        item.key or "/".join(item.nested_key): item.value_json
        for r in found
        if r.WhichOneof("record_type") == "summary"
        for item in r.summary.update
    }
    results = {name: float(value) for name, value in ends.items() if name.startswith("tuned/result/")}
    assert results == {"tuned/result/mfu": 0.5, "tuned/result/in/best": 1, "tuned/result/seconds": 2}
