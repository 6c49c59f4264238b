"""Preparing rows that memory should not hold: time, rows per second, and the most memory that was held.

    python benchmarks/prepare_large.py --gb 2

Writes a JSON Lines file of sentences made from a word list, a twentieth of them duplicates, and runs the stage
`prepare` on it with its usual operators in a process of its own; fifty times a second its resident set and those of its
workers are added up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

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
    from danlu.core.artifact import Store
    from danlu.core.events import Events
    from danlu.stages.prepare import Prepare

    stage = Prepare(source={"jsonl": str(path)}, task={"text_classification": {"text": "text", "label": "label"}})
    draft = Store(store).draft("0" * 64, kind="dataset", step="data", stage="prepare", inputs={}, settings={})
    most = [0]
    threading.Thread(target=watch, args=(most,), daemon=True).start()
    began = time.perf_counter()
    stage.run({}, draft, Events.silent())
    draft.commit()
    seconds = time.perf_counter() - began
    cpu = sum(os.times()[:4])
    told = {"seconds": seconds, "cpu_seconds": cpu, "rows": draft.numbers["rows_read"], "peak_gb": most[0] / 2**30}
    print(json.dumps(told))


def watch(most: list[int]) -> None:
    """Keep the greatest resident set of this process and its workers together; pages that they share count twice."""
    here = psutil.Process()
    while True:
        held = here.memory_info().rss
        for worker in here.children():
            with suppress(psutil.Error):
                held += worker.memory_info().rss
        most[0] = max(most[0], held)
        time.sleep(0.02)


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
