"""Many processes move and read one alias at once; a checker looks for an order of all they did that explains it.

    python benchmarks/alias_history.py                    8 movers, 8 readers, 20,000 operations
    python benchmarks/alias_history.py --fault stale      a planted fault: the check must fail

An alias is linearizable if every operation takes effect at one moment between its call and its return. The audit gives
the order of the moves. What is checked: each move found what it expected, and what the move before it left; the order
keeps that of moves that did not overlap in time; and every read has a place in it that fits its time and that of the
reads before it. Prints one JSON object and ends with 0 if no anomaly was found, else with 1. The fault `stale` reads
the alias, compares, and writes without one transaction around it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from danlu.core.errors import GateError
from danlu.registry import audit
from danlu.registry.store import Registry

NAME, ALIAS, VERSIONS = "benchmark", "production", 12


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--fault", choices=["", "stale"], default="")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options)
    with tempfile.TemporaryDirectory() as folder:
        options.store = Path(folder) / "store"
        prepare(options.store)
        began = time.perf_counter()
        said = run(options)
        result = check(Registry(options.store), said) | {"seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(result))
    return 0 if not result["anomalies"] else 1


def prepare(store: Path) -> None:
    registry, folder = Registry(store), store.with_name("model")
    folder.mkdir()
    for number in range(VERSIONS):
        (folder / "bundle.json").write_text(json.dumps({"number": number}))
        registry.publish(NAME, folder, metadata={})
    registry.move(NAME, ALIAS, to=1)


def run(options: argparse.Namespace) -> list[dict[str, object]]:
    """What every process says of each of its operations: times of the machine's one monotonic clock."""
    workers = [f"mover{k}" for k in range(options.movers)] + [f"reader{k}" for k in range(options.readers)]
    each = str(options.operations // len(workers))
    command = [sys.executable, __file__, "--operations", each, "--store", str(options.store), "--fault", options.fault]
    running = [subprocess.Popen([*command, "--worker", name], stdout=subprocess.PIPE, text=True) for name in workers]
    return [json.loads(line) for process in running for line in process.communicate()[0].splitlines()]


def work(options: argparse.Namespace) -> int:
    registry, chance = Registry(options.store), random.Random(options.worker)
    move = stale_move if options.fault == "stale" else Registry.move
    for k in range(options.operations):
        begin = time.monotonic_ns()
        if options.worker.startswith("reader"):
            told = {"read": registry.aliases(NAME)[ALIAS]}
        else:
            expected, to = registry.aliases(NAME)[ALIAS], chance.randrange(1, VERSIONS + 1)
            begin, why = time.monotonic_ns(), f"{options.worker} {k}"
            try:
                entry = move(registry, NAME, ALIAS, to=to, expect=expected, why=why)
                told = {"move": to, "expected": expected, "why": why, "written": entry.why == why}
            except GateError:
                told = {"refused": to}
        print(json.dumps({**told, "begin": begin, "end": time.monotonic_ns()}))
    return 0


def stale_move(registry: Registry, name: str, alias: str, *, to: int, expect: int, why: str) -> object:
    before = registry.aliases(name)[alias]
    if before != expect:
        raise GateError("it was moved")
    with registry.database.writing() as connection:
        return audit.add(connection, "move", name, to, alias=alias, before=before, actor="", why=why)


def check(registry: Registry, said: list[dict[str, object]]) -> dict[str, object]:
    registry.check_audit()
    moves = {told["why"]: told for told in said if told.get("written")}
    line = [entry for entry in registry.audit(NAME, ALIAS) if entry.action == "move"]
    anomalies = [f"a move was acknowledged and is not there: {why}" for why in moves.keys() - {e.why for e in line}]
    begins, ends, latest = [0], [0], 0
    for before, entry in itertools.pairwise(line):
        told = moves.get(entry.why)
        if told is None or entry.before != before.after or told["expected"] != before.after:
            anomalies.append(f"entry {entry.id} moved from {entry.before}, where it pointed to {before.after}")
            told = told or {"begin": latest, "end": 1 << 62}
        if told["end"] < latest:
            anomalies.append(f"entry {entry.id} stands after a move that began when it had ended")
        latest = max(latest, told["begin"])
        begins.append(latest)
        ends.append(told["end"])
    reads = sorted((told for told in said if "read" in told), key=lambda told: told["begin"])
    anomalies += misplaced(reads, [entry.after for entry in line], begins, ends)
    refused = sum("refused" in told for told in said)
    told = {"operations": len(said), "moves": len(line) - 1, "reads": len(reads), "refused": refused}
    return told | {"anomalies": len(anomalies), "first": anomalies[:3]}


def misplaced(reads: list[dict], values: list[int], begins: list[int], ends: list[int]) -> list[str]:
    """The reads that have no place. Each gets the earliest that fits, which leaves the most room to those after it."""
    found, done = [], []  # done: (end, place) of the reads so far
    place_of_end = sorted((end, place) for place, end in enumerate(ends))
    finished, floor = 0, 0
    for read in reads:
        while finished < len(place_of_end) and place_of_end[finished][0] < read["begin"]:
            floor = max(floor, place_of_end[finished][1])
            finished += 1
        before = [place for end, place in done if end < read["begin"]]
        floor = max([floor, *before])
        done = [one for one in done if one[0] >= read["begin"]]
        fits = (k for k in range(floor, len(values)) if values[k] == read["read"])
        place = next(fits, None)
        if place is None or begins[place] > read["end"]:
            found.append(f"a read of {read['read']} at {read['begin']} fits nowhere")
        else:
            done.append((read["end"], place))
    return found


if __name__ == "__main__":
    sys.exit(main())
