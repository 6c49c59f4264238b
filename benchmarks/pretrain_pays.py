"""What pre-training buys: a small Chinese BERT fine-tuned from `recipes/pretrain_chinese.yaml`'s model and from fresh.

    python benchmarks/pretrain_pays.py                                  1,000 labels, seeds 0 1 2
    python benchmarks/pretrain_pays.py --labels 200 --seeds 0 --override pretrained.steps=50

The model is pre-trained once; then for each seed both sides are fine-tuned on the same labelled reviews, drawn from the
training rows by the seed, with the same budget, and measured on the recipe's whole test set. Tells accuracy with its
95 % interval (a bootstrap over rows) and the paired difference, TF-IDF beside them, and over the seeds mean and range.
A second call goes on where the first stopped: what is there is reused.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

import danlu
from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.blocks.intervals import difference
from danlu.blocks.judging import score_all
from danlu.core import plugin

RECIPE = Path(__file__).parent.parent / "recipes" / "pretrain_chinese.yaml"


def steps(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """The recipe with these steps alone."""
    return {**document, "steps": {name: document["steps"][name] for name in names}}


def few(reviews: Any, count: int, seed: int, folder: Path) -> Path:
    """Some of the training rows, drawn by the seed, and all validation and test rows, as files with their splits."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation", "test"):
        rows = pq.read_table(reviews.path / f"{split}.parquet").select(["text", "label"])
        if split == "train":
            rows = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:count]))
        pq.write_table(rows, folder / f"{split}.parquet")
    return folder


def accuracy(run: Any, step: str) -> Any:
    """The accuracy of a step's model on the test rows, with its interval."""
    inputs, gold = DataSet.open(run["few"].path).judged("test")
    forms = bundle.Forms.open(run[step].path)
    answers = bundle.load(forms.folder(forms.default))(inputs)
    return score_all([plugin.load("metrics", "accuracy")()], answers, gold, seed=0)["accuracy"]


def trial(document: dict[str, Any], reviews: Any, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Both sides on the labels of one seed."""
    folder = few(reviews, given.labels, seed, given.store / "few" / f"{given.labels}-{seed}")
    own = document["steps"]
    budget = {"dataset": "$few", "steps": given.steps, "seed": seed}
    made = steps(document, "corpus", "pretrained")
    made["steps"] |= {
        "few": {**own["reviews"], "source": {"parquet": str(folder)}, "operators": ["normalize"], "split": {}},
        "fresh": {**own["fresh"], **budget},
        "tuned": {**own["tuned"], **budget},
        "score": {"do": "evaluate", "dataset": "$few", "model": "$tuned"},
    }
    run = danlu.run(made, *given.override, store=given.store)
    sides = {name: accuracy(run, name) for name in ("fresh", "tuned")}
    told = {name: {"accuracy": score.value, "low": score.low, "high": score.high} for name, score in sides.items()}
    tfidf = run["score"].json("scores.json")["baselines"]["tfidf_lr"]["metrics"]["accuracy"]["value"]
    return {"seed": seed, **told, "tuned-fresh": difference(sides["tuned"], sides["fresh"]), "tfidf_lr": tfidf}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=300, help="of each fine-tuning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--store", type=Path, default=Path(".danlu"))
    parser.add_argument("--override", nargs="*", default=[], help="of the recipe's corpus and pretrained steps")
    given = parser.parse_args()
    given.store = given.store.resolve()
    document = yaml.safe_load(RECIPE.read_text("utf-8"))
    reviews = danlu.run(steps(document, "reviews"), store=given.store)["reviews"]
    found = []
    for seed in given.seeds:
        found.append(trial(document, reviews, given, seed))
        print(json.dumps(found[-1]), flush=True)
    gaps = [one["tuned-fresh"]["value"] for one in found]
    whole = {"mean": statistics.mean(gaps), "least": min(gaps), "most": max(gaps)}
    print(json.dumps({"labels": given.labels, "seeds": given.seeds, "tuned-fresh": whole}))


if __name__ == "__main__":
    main()
