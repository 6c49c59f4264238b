"""Sentences per second of a published int8 form beside `transformers.pipeline` in fp32, on the same sentences.

    python benchmarks/answer_text.py [MODEL] [--store DIR]

MODEL is a published model (default review-sentiment). Both sides answer the same real sentences of movie-snippets, in
alternating rounds in one process; the figure is the median of the ratios. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
logging.disable(logging.WARNING)

from transformers import pipeline

from danlu import api
from danlu.blocks.dataset import DataSet
from danlu.bundle import Forms
from danlu.core.artifact import Store
from danlu.registry.store import Registry

ROUNDS = 7


def seconds(answer: Callable[[Sequence[str]], object], sentences: Sequence[str], batch: int) -> float:
    began = time.perf_counter()
    for start in range(0, len(sentences), batch):
        answer(sentences[start : start + batch])
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="review-sentiment")
    parser.add_argument("--store", type=Path)
    arguments = parser.parse_args()
    store = Store.locate(arguments.store, Path.cwd())
    registry = Registry(store.path)
    version = registry.resolve(arguments.model)
    forms = Forms.open(registry.open(version))
    data = next(a for a in store.artifacts() if a.kind == "dataset" and _made_from(version, a.digest))
    sentences, gold = DataSet.open(data.path).judged("test")

    ours = api.load(arguments.model, store=store.path)
    theirs = pipeline("text-classification", model=str(forms.folder("trained")), device="cpu")
    figures = {"model": version.reference, "form": ours.form, "size_mb": _megabytes(forms.folder(ours.form))}
    for batch, count in ((1, 200), (32, 640)):
        chosen = sentences[:count]
        sides = {
            "danlu": lambda texts: ours.predict(list(texts)),
            "pipeline": lambda texts, batch=batch: theirs(list(texts), batch_size=batch),
        }
        for answer in sides.values():
            seconds(answer, chosen[:64], batch)
        rounds = [{name: seconds(answer, chosen, batch) for name, answer in sides.items()} for _ in range(ROUNDS)]
        figures[f"batch_{batch}"] = {
            "danlu_per_s": round(count / statistics.median(r["danlu"] for r in rounds), 1),
            "pipeline_per_s": round(count / statistics.median(r["pipeline"] for r in rounds), 1),
            "ratio": round(statistics.median(r["pipeline"] / r["danlu"] for r in rounds), 2),
            "ratio_min_max": [round(f(r["pipeline"] / r["danlu"] for r in rounds), 2) for f in (min, max)],
        }
    right = {
        "danlu": sum(a["label"] == g["label"] for a, g in zip(ours.predict(sentences), gold, strict=True)),
        "pipeline": sum(a["label"] == g["label"] for a, g in zip(theirs(sentences, batch_size=32), gold, strict=True)),
    }
    figures["accuracy"] = {name: round(count / len(gold), 4) for name, count in right.items()}
    json.dump(figures, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _made_from(version: object, digest: str) -> bool:
    return any(manifest["digest"] == digest for manifest in version.manifests)  # type: ignore[attr-defined]


def _megabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 2)


if __name__ == "__main__":
    main()
