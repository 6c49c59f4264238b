"""Alias moves are linearizable (R5); the long form is `benchmarks/alias_history.py`."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "alias_history.py"


def history(*options):
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def test_movers_and_readers_at_once():
    code, told = history("--movers", "3", "--readers", "3", "--operations", "240")
    assert (code, told["anomalies"], told["operations"]) == (0, 0, 240)
    assert told["moves"] > 10


def test_planted_read_then_write_is_seen():
    code, told = history("--movers", "4", "--readers", "1", "--operations", "400", "--fault", "stale")
    assert (code, told["anomalies"] > 0) == (1, True)


@pytest.mark.proof
def test_20000_operations():
    code, told = history()
    assert (code, told["operations"]) == (0, 20_000)


def test_the_checker_knows_reads_that_fit_nowhere():
    spec = importlib.util.spec_from_file_location("alias_history", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values, begins, ends = [1, 2, 1, 3], [0, 10, 20, 30], [0, 12, 22, 32]

    def reads(*told):
        return module.misplaced([{"read": v, "begin": b, "end": e} for v, b, e in told], values, begins, ends)

    assert reads((1, 1, 2), (2, 11, 13), (2, 13, 19), (1, 21, 25), (3, 31, 33)) == []
    assert len(reads((2, 1, 9))) == 1  # before it was written
    assert len(reads((1, 13, 19))) == 1  # after it was overwritten, before it was written again
    assert len(reads((3, 30, 31), (1, 32, 40))) == 1  # back in time
    assert len(reads((4, 0, 40))) == 1  # never written
