"""Whether it matters which rows a person labels: accuracy at equal numbers of labels, chosen by doubt or by lot.

    python benchmarks/label_choice.py [--seeds 3] [--rounds 6] [--step 50]

Of movie-snippets a fifth (every fifth text by lot) is kept to measure on. The first 100 rows are drawn by lot, the same
for all strategies of a seed; then rows are added in rounds, as `danlu data label` would choose them from a pool of
`--pool` rows drawn anew each round, with the scores of the quick baseline: a logistic regression on TF-IDF, learnt from
the labels so far. Prints one JSON document: for each strategy the accuracy after each round, mean and range over the
seeds, and how far it lies above drawing by lot at the same seed in the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from danlu.blocks.picking import STRATEGIES, pick
from danlu.blocks.sklearn import text_features
from danlu.plugins.sources.asset import Asset

FIRST = 100
LOT = "random"


def learnt(rows: csr_matrix, labels: Any, chosen: Any) -> LogisticRegression:
    """The model of the rows labelled so far."""
    return LogisticRegression(C=10, max_iter=300).fit(rows[chosen], labels[chosen])


def course(rows: csr_matrix, labels: Any, pool: Any, test: Any, by: str, seed: int, chosen: argparse.Namespace) -> Any:
    """The accuracy after the first rows and after each round."""
    rng = np.random.default_rng(seed)
    mine = rng.choice(pool, FIRST, replace=False)
    model = learnt(rows, labels, mine)
    told = [model.score(rows[test], labels[test])]
    for turn in range(chosen.rounds):
        left = np.setdiff1d(pool, mine)
        some = np.sort(rng.choice(left, min(chosen.pool, len(left)), replace=False))
        if by == LOT:
            more = some[rng.choice(len(some), chosen.step, replace=False)]
        else:
            seen = rows[some]
            scores = model.predict_proba(seen)
            more = some[pick(scores, seen.__getitem__, len(some), chosen.step, by, seed * 100 + turn)]
        mine = np.concatenate([mine, more])
        model = learnt(rows, labels, mine)
        told.append(model.score(rows[test], labels[test]))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--step", type=int, default=50)
    parser.add_argument("--pool", type=int, default=3000)
    chosen = parser.parse_args()
    table = pa.Table.from_batches(Asset(asset="movie-snippets").rows())
    labels = np.array(table.column("label").to_pylist())
    began, rows = time.process_time(), text_features(table.column("text").to_pylist())
    found: dict[str, list[list[float]]] = {by: [] for by in (LOT, *STRATEGIES)}
    for seed in range(chosen.seeds):
        order = np.random.default_rng(seed).permutation(len(labels))
        test, pool = order[: len(order) // 5], np.sort(order[len(order) // 5 :])
        for by, courses in found.items():
            courses.append(course(rows, labels, pool, test, by, seed, chosen))
    told: dict[str, Any] = {"labels": [FIRST + turn * chosen.step for turn in range(chosen.rounds + 1)]}
    for by, courses in found.items():
        made, lot = np.array(courses), np.array(found[LOT])
        told[by] = {
            "accuracy": made.mean(0).round(4).tolist(),
            "range": [made[:, -1].min().round(4), made[:, -1].max().round(4)],
            "above_lot": (made - lot)[:, -1].round(4).tolist(),
            "above_lot_all_rounds": float((made - lot)[:, 1:].mean().round(4)),
        }
    json.dump(told | {"cpu_seconds": round(time.process_time() - began, 1)}, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
