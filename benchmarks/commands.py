"""Seconds that the commands a person types most often take, as whole processes: the median of several runs.

    python benchmarks/commands.py [--recipe recipes/review_sentiment.yaml] [--store DIR]

Run the recipe once before: the last figure is a run in which every step is reused. `advise` reads the recipe's data and
times passes of its backbone, whose weights must be there. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="recipes/review_sentiment.yaml")
    parser.add_argument("--store", type=Path)
    arguments = parser.parse_args()
    store = ["--store", str(arguments.store)] if arguments.store else []
    commands = {
        "danlu --help": ["--help"],
        "danlu list": ["list"],
        "danlu versions": ["versions", *store],
        "danlu check": ["check", arguments.recipe],
        "danlu advise": ["advise", arguments.recipe],
        "danlu run, every step reused": ["run", arguments.recipe, *store, "--json"],
    }
    danlu = str(Path(sys.executable).with_name("danlu"))
    figures = {}
    for name, words in commands.items():
        times = []
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            done = subprocess.run([danlu, *words], capture_output=True, text=True, check=True)
            times.append(time.perf_counter() - began)
        reused = len(json.loads(done.stdout)["reused"]) if words[0] == "run" else None
        figures[name] = {"median_s": round(statistics.median(times[1:]), 3), "max_s": round(max(times[1:]), 3)}
        if reused is not None:
            figures[name]["steps_reused"] = reused
    json.dump(figures, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
