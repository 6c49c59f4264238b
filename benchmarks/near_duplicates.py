"""Near-duplicates among short texts: seconds, memory, recall, and a plain datasketch script beside it.

    python benchmarks/near_duplicates.py [--rows 1000000] [--peer 10000]

The texts are made of movie-snippets: two halves of sentences, and copies in which one to three words are others. Recall
is the share of the pairs with Jaccard ≥ 0.8, found by brute force among the first 4,000 texts, that share a cluster.
The peer works on the first PEER texts with the same shingles, bands and rows, and verifies its candidates as
ours does; the ratio is of texts per second on those same texts. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import time

import numpy as np
import pyarrow as pa
from datasketch import MinHash, MinHashLSH

from danlu.blocks.minhash import Near
from danlu.blocks.splits import loose
from danlu.contracts import Columns, Context
from danlu.plugins.operators.near_duplicates import NearDuplicates
from danlu.plugins.sources.asset import Asset

BY_FORCE = 4_000
ROUNDS = 3
NEAR = Near()


def made(rows: int) -> list[str]:
    """Texts, near copies after each."""
    table = pa.Table.from_batches(Asset(asset="movie-snippets").rows())
    sentences = [text.split() for text in table.column("text").to_pylist() if text]
    words = [word for sentence in sentences for word in sentence]
    rng, texts = random.Random(0), []
    while len(texts) < rows:
        one, other = rng.choice(sentences), rng.choice(sentences)
        text = one[: len(one) // 2] + other[len(other) // 2 :]
        texts.append(" ".join(text))
        for _ in range(rng.choice((0, 0, 1, 2, 3))):
            copy = list(text)
            for _ in range(rng.randint(1, 3)):
                copy[rng.randrange(len(copy))] = rng.choice(words)
            texts.append(" ".join(copy))
    return texts[:rows]


def shingles(text: str) -> set[str]:
    text = loose(text).ljust(NEAR.size, "\0")
    return {text[k : k + NEAR.size] for k in range(len(text) - NEAR.size + 1)}


def jaccard(one: set[str], other: set[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def pairs_by_force(texts: list[str]) -> list[tuple[int, int]]:
    sets = [shingles(text) for text in texts]
    return [
        (i, j) for i in range(len(sets)) for j in range(i + 1, len(sets)) if jaccard(sets[i], sets[j]) >= NEAR.threshold
    ]


def ours(texts: list[str]) -> list[int]:
    return NEAR.clusters(NEAR.sketch(texts)).tolist()


def peer(texts: list[str]) -> list[int]:
    """What the documentation of datasketch shows, with clusters by union-find."""
    bands, rows = NEAR.shape
    index = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
    parent = list(range(len(texts)))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    sets = []
    for row, text in enumerate(texts):
        sets.append(shingles(text))
        sketch = MinHash(num_perm=bands * rows)
        sketch.update_batch([shingle.encode() for shingle in sets[row]])
        for other in index.query(sketch):
            one, two = sorted((root(row), root(other)))
            if one != two and jaccard(sets[row], sets[other]) >= NEAR.threshold:
                parent[two] = one
        index.insert(row, sketch)
    return [root(row) for row in range(len(texts))]


def recall(group: list[int], pairs: list[tuple[int, int]]) -> float:
    return round(sum(group[i] == group[j] for i, j in pairs) / len(pairs), 4)


def timed(find: object, texts: list[str]) -> tuple[float, list[int]]:
    began = time.perf_counter()
    group = find(texts)  # type: ignore[operator]
    return time.perf_counter() - began, group


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer", type=int, default=10_000)
    arguments = parser.parse_args()
    texts = made(max(arguments.rows, arguments.peer, BY_FORCE))
    pairs = pairs_by_force(texts[:BY_FORCE])
    table = pa.table({"text": texts[: arguments.rows]})
    few = texts[: max(arguments.peer, BY_FORCE)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del texts
    began = time.perf_counter()
    kept, _ = NearDuplicates().apply(table, Context(Columns(("text",))))
    seconds = time.perf_counter() - began
    figures = {
        "rows": table.num_rows,
        "megabytes": round(table.nbytes / 1e6, 1),
        "seconds": round(seconds, 1),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "rss_gb_before": round(before / 1e6, 2),
        "kept": kept.num_rows,
        "bands_rows": NEAR.shape,
    }
    rounds = [(timed(ours, few), timed(peer, few)) for _ in range(ROUNDS)]
    figures["beside_datasketch"] = {
        "rows": len(few),
        "danlu_per_s": round(len(few) / statistics.median(mine[0] for mine, _ in rounds)),
        "datasketch_per_s": round(len(few) / statistics.median(theirs[0] for _, theirs in rounds)),
        "ratio": round(statistics.median(theirs[0] / mine[0] for mine, theirs in rounds), 1),
        "ratio_min_max": [round(f(theirs[0] / mine[0] for mine, theirs in rounds), 1) for f in (min, max)],
        "recall": {"danlu": recall(rounds[0][0][1], pairs), "datasketch": recall(rounds[0][1][1], pairs)},
        "pairs": len(pairs),
        "clusters": {"danlu": len(np.unique(rounds[0][0][1])), "datasketch": len(set(rounds[0][1][1]))},
    }
    json.dump(figures, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
