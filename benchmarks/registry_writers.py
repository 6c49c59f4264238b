"""Many processes publish versions at once; writers are killed at random moments. Every acknowledged version must stand.

    python benchmarks/registry_writers.py                      8 processes x 50 versions
    python benchmarks/registry_writers.py --kills 200          200 writers killed with -9
    python benchmarks/registry_writers.py --fault deferred     a planted fault: the check must fail

Prints one JSON object and ends with 0 if the promise was kept, else with 1. Faults: `naive` reads the last number, adds
one and writes it without a transaction; `deferred` begins the transaction only at its first write; `early` writes the
record of a version before its files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from danlu.core.errors import DanluError
from danlu.core.files import sha256_file
from danlu.registry.content import listing
from danlu.registry.database import Database
from danlu.registry.store import Registry
from danlu.registry.versions import StoredFile

NAME = "benchmark"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--versions", type=int, default=50, help="per writer")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--fault", choices=["", "naive", "deferred", "early"], default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", type=Path, help="an empty folder; default: a new temporary one")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options)
    with contextlib.ExitStack() as stack:
        if options.store is None:
            options.store = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        result = kills(options) if options.kills else writers(options)
    print(json.dumps(result))
    return 0 if result["kept"] else 1


# ---- the writer, a process of its own


def work(options: argparse.Namespace) -> int:
    """Publish versions of ever new content; print a line for each as soon as it is acknowledged, or for its error."""
    publish = naive_publish if options.fault == "naive" else registry_publish
    plant(options.fault)
    folder = options.store / "work" / options.worker
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for k in range(options.versions):
        for part in ("bundle.json", "config.json", "onnx/graphs.json"):
            (folder / part).write_text(json.dumps({"part": part, "worker": options.worker, "version": k}))
        began = time.perf_counter()
        try:
            said = {"number": publish(options.store, folder)}
        except (DanluError, SQLAlchemyError, sqlite3.Error) as fault:
            said = {"error": f"{type(fault).__name__}: {fault}"}
        print(json.dumps({**said, "ms": 1000 * (time.perf_counter() - began)}), flush=True)
    return 0


def registry_publish(store: Path, folder: Path) -> int:
    return Registry(store).publish(NAME, folder, metadata={"from": folder.name}, why="benchmark").number


def naive_publish(store: Path, folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(store / "naive.db", timeout=60, isolation_level=None)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS versions (number INTEGER, content TEXT)")
        (last,) = database.execute("SELECT max(number) FROM versions").fetchone()
        number = 1 + (last or 0)
        database.execute("INSERT INTO versions VALUES (?, ?)", (number, (folder / "bundle.json").read_text()))
        return number


def plant(fault: str) -> None:
    """Break the registry on purpose, to see that the check sees it."""
    if fault == "deferred":

        @contextlib.contextmanager
        def writing(self):
            self.ensure()
            with self._engine.begin() as connection:
                yield connection

        Database.writing = writing
    if fault == "early":
        put, publish = Registry._put, Registry.publish

        def digests_only(self, folder, paths):
            return {path: StoredFile(sha256_file(folder / path), (folder / path).stat().st_size) for path in paths}

        def record_first(self, name, folder, **options):
            version = publish(self, name, folder, **options)
            put(self, folder, listing(folder))
            return version

        Registry._put, Registry.publish = digests_only, record_first


# ---- the check


def writers(options: argparse.Namespace) -> dict[str, object]:
    """All writers at once; every one must get all its numbers."""
    began = time.perf_counter()
    running = [start(options, f"writer{k}", options.versions) for k in range(options.writers)]
    said = [json.loads(line) for process in running for line in process.communicate()[0].splitlines()]
    seconds = time.perf_counter() - began
    numbers = [line["number"] for line in said if "number" in line]
    errors = [line["error"] for line in said if "error" in line]
    faults = examine(options.store, numbers, expect=options.writers * options.versions)
    if len(said) != options.writers * options.versions:
        faults.append(f"{len(said)} answers of writers")
    times = sorted(line["ms"] for line in said)
    return {
        "writers": options.writers,
        "versions": len(numbers),
        "distinct": len(set(numbers)),
        "errors": len(errors),
        "first_error": errors[0] if errors else "",
        "faults": faults,
        "seconds": round(seconds, 2),
        "ms_p50": round(times[len(times) // 2], 1),
        "ms_p99": round(times[int(0.99 * len(times))], 1),
        "kept": not faults and not errors,
    }


def kills(options: argparse.Namespace) -> dict[str, object]:
    """One writer after the other, each killed at a random moment after its first word."""
    chance = random.Random(options.seed)
    numbers, errors = [], []
    for k in range(options.kills):
        process = start(options, f"writer{k}", 1_000_000)
        first = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        lines = (first + process.communicate()[0]).splitlines(keepends=True)
        said = [json.loads(line) for line in lines if line.endswith("\n")]
        numbers += [line["number"] for line in said if "number" in line]
        errors += [line["error"] for line in said if "error" in line]
    faults = examine(options.store, numbers)
    kept = not faults and not errors
    return {"kills": options.kills, "acknowledged": len(numbers), "errors": errors, "faults": faults, "kept": kept}


def start(options: argparse.Namespace, name: str, versions: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--worker", name, "--versions", str(versions)]
    command += ["--store", str(options.store), "--fault", options.fault]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def examine(store: Path, acknowledged: list[int], expect: int | None = None) -> list[str]:
    """What is wrong: an acknowledged version that is missing, a number twice, a gap, a version that is not whole."""
    faults = []
    if len(set(acknowledged)) != len(acknowledged):
        faults.append(f"{len(acknowledged) - len(set(acknowledged))} numbers were given twice")
    if expect is not None and set(acknowledged) != set(range(1, expect + 1)):
        faults.append(f"the acknowledged numbers are not 1 to {expect}")
    if (store / "naive.db").exists():
        return faults
    registry = Registry(store)
    versions = registry.versions(NAME)
    there = {version.number for version in versions}
    if there != set(range(1, len(there) + 1)):
        faults.append("the numbers have a gap")
    if not set(acknowledged) <= there:
        faults.append(f"acknowledged, but not there: {sorted(set(acknowledged) - there)}")
    for version in versions:
        try:
            registry.verify(version)
            registry.open(version)
        except DanluError as fault:
            faults.append(str(fault))
    if registry.check_audit() != len(versions):
        faults.append("the audit does not have one entry a version")
    return faults


if __name__ == "__main__":
    sys.exit(main())
