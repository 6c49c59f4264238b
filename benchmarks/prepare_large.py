"""Preparing rows that memory should not hold: time, rows per second, and the most memory that was held.

    python benchmarks/prepare_large.py --gb 2

Writes a JSON Lines file of sentences made from a word list, a twentieth of them duplicates, and runs the stage
`prepare` on it with its usual operators in a process of its own, whose greatest resident set is read at its end, and
that of its workers (Linux counts the first process in it at their start): `peak_gb` is the sum, so a bound from above.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = "film was a warm funny slow dull moving story great actors poor writing we saw twice never liked music lights"


def write(path: Path, size: int) -> int:
    """A file of about `size` bytes; the number of its rows."""
    draw, rows = random.Random(0), 0
    with path.open("w") as file:
        while file.tell() < size:
            made = []
            for _ in range(5000):
                rows += 1
                text = " ".join(draw.choices(WORDS.split(), k=draw.randint(60, 300)))
                made.append(json.dumps({"text": text, "label": draw.choice(["good", "bad"]), "id": rows}))
                if rows % 20 == 0:
                    made[-1] = made[draw.randrange(len(made))]
            file.write("\n".join(made) + "\n")
    return rows


def work(path: Path, store: Path) -> None:
    from danlu.blocks.crew import Crew
    from danlu.core.artifact import Store
    from danlu.core.events import Events
    from danlu.stages.prepare import Prepare

    stage = Prepare(source={"jsonl": str(path)}, task={"text_classification": {"text": "text", "label": "label"}})
    draft = Store(store).draft("0" * 64, kind="dataset", step="data", stage="prepare", inputs={}, settings={})
    began = time.perf_counter()
    stage.run({}, draft, Events.silent())
    draft.commit()
    seconds = time.perf_counter() - began
    own, largest = (
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    peak = {"peak_gb": own + Crew().others * largest, "of_each_worker": largest}
    told = {"seconds": seconds, "cpu_seconds": sum(os.times()[:4]), "rows": draft.numbers["rows_read"]}
    print(json.dumps(told | peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2, help="size of the file, 1,000 bytes a row")
    parser.add_argument("--work", nargs=2, type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(*chosen.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        rows = write(path, int(chosen.gb * 2**30))
        print(f"{path.stat().st_size / 2**30:.2f} GB, {rows:,} rows", file=sys.stderr)
        command = [sys.executable, __file__, "--work", str(path), str(Path(folder) / "store")]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        speed = {"rows_per_s": round(rows / told["seconds"]), "mb_per_s": path.stat().st_size / 1e6 / told["seconds"]}
        print(json.dumps(told | speed, indent=1))


if __name__ == "__main__":
    main()
