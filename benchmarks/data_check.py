"""How long `danlu data check` takes: rows made from movie-snippets by small edits, checked as a CSV file.

    python benchmarks/data_check.py [--rows 100000] [--seed 0]

Prints one JSON document: seconds and rows a second of the whole command with its page, the seconds of each check, and
whether a leak of 1 % planted into a second file was found whole.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from danlu import data_check
from danlu.blocks.report.data_page import data_page
from danlu.plugins.sources.asset import Asset

TEST = 5000


def edited(texts: list[str], words: list[str], rng: random.Random) -> str:
    """A text of the asset in which a third of the words is another one, so that few are near to one another."""
    found = rng.choice(texts).split()
    for _ in range(1 + len(found) // 3):
        found[rng.randrange(len(found))] = rng.choice(words)
    return " ".join(found)


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    table = pa.Table.from_batches(Asset(asset="movie-snippets").rows())
    texts, labels = table.column("text").to_pylist(), sorted(set(table.column("label").to_pylist()))
    words = [word for text in texts[:3000] for word in text.split()]
    train = [(edited(texts, words, rng), rng.choice(labels)) for _ in range(options.rows)]
    leaked = [(f" {text.upper()}", label) for text, label in rng.sample(train, TEST // 100)]
    fresh = [(" ".join(rng.choices(words, k=20)), rng.choice(labels)) for _ in range(TEST - len(leaked))]
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder, "train.csv"), train)
        began = time.perf_counter()
        page = data_page(data_check.check(str(file), rows=None))
        seconds = time.perf_counter() - began
        other = write(Path(folder, "test.csv"), fresh + leaked)
        told = data_check.check(str(file), against=str(other), rows=None)
    found = [finding["count"] for finding in told["findings"] if finding["check"] == "leaks between splits"]
    figures = {
        "rows": options.rows,
        "megabytes": round(sum(len(text) for text, _ in train) / 1e6, 1),
        "seconds": round(seconds, 1),
        "rows_a_second": round(options.rows / seconds),
        "reading": told["reading_seconds"],
        "checks": {check["name"]: check["seconds"] for check in told["checks"]},
        "page_kilobytes": round(len(page) / 1000),
        "leak": {"planted": len(leaked), "found": found},
    }
    json.dump(figures, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
