"""How many wrong labels `label_errors` finds: 5 % of the labels of movie-snippets are flipped, the ranking is read.

    python benchmarks/label_errors.py [--share 0.05]

Prints one JSON document, with the share of the flipped rows in the first 5 %, 10 % and 20 % of the ranking for three
seeds. The labels of the asset are not without errors themselves; those count as misses here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import pyarrow as pa

from danlu.blocks.cleanlab import suspects
from danlu.plugins.sources.asset import Asset

SEEDS = (0, 1, 2)
FOLDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.05)
    share = parser.parse_args().share
    table = pa.Table.from_batches(Asset(asset="movie-snippets").rows())
    texts, truth = table.column("text").to_pylist(), np.array(table.column("label").to_pylist())
    names = np.unique(truth)
    figures: dict[str, object] = {"rows": len(texts), "flipped": int(share * len(texts)), "seeds": {}}
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        flipped = rng.choice(len(texts), int(share * len(texts)), replace=False)
        labels = truth.copy()
        labels[flipped] = np.where(truth[flipped] == names[0], names[1], names[0])
        began = time.perf_counter()
        found = suspects(texts, labels.tolist(), rng.integers(0, FOLDS, len(texts)))
        told = {"seconds": round(time.perf_counter() - began, 1), "judged_wrong": found.wrong}
        for first in (0.05, 0.1, 0.2):
            caught = np.isin(flipped, found.order[: int(first * len(texts))]).mean()
            told[f"in_first_{first:.0%}"] = round(float(caught), 3)
        figures["seeds"][seed] = told  # type: ignore[index]
    json.dump(figures, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
