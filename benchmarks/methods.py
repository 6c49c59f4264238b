"""Fine-tuning by every method, side by side: accuracy, trained weights, seconds, memory, and bytes of its own.

    python benchmarks/methods.py                                     minilm on movie-snippets, one epoch
    python benchmarks/methods.py --methods full lora --epochs 2 --seeds 0 1 2

Each method is one step of a recipe, with its own default learning rate; a second call goes on where the first stopped.
`MB` is what it adds to the disk beside the frozen base, which all versions share.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import danlu
from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.blocks.judging import score_all
from danlu.core import plugin
from danlu.core.artifact import Artifact

METHODS = ("full", "last_layers", "bitfit", "lora", "dora", "ia3", "adapter", "prefix", "prompt", "p_tuning")


def accuracy(model: Artifact, data: Artifact) -> Any:
    """On the test rows, with its interval."""
    inputs, gold = DataSet.open(data.path).judged("test")
    answers = bundle.load(model.path / "trained")(inputs)
    return score_all([plugin.load("metrics", "accuracy")()], answers, gold, seed=0)["accuracy"]


def own_megabytes(model: Artifact) -> float:
    """Weights that the frozen base does not hold."""
    files = sorted((model.path / "trained").glob("*.safetensors"))
    own = [file for file in files if file.name != "part0.safetensors"]
    return sum(file.stat().st_size for file in own) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--asset", default="movie-snippets")
    parser.add_argument("--backbone", type=json.loads, default={"pretrained": "asset:minilm"})
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--store", type=Path, default=Path("methods-store"))
    given = parser.parse_args()
    task = {"text_classification": {"text": "text", "label": "label"}}
    data = {"do": "prepare", "source": {"asset": given.asset}, "task": task}
    found: dict[str, list[tuple[Any, dict[str, Any], float]]] = {name: [] for name in given.methods}
    for seed in given.seeds:
        for name in given.methods:
            tuned = {"do": "finetune", "backbone": given.backbone, "method": name, "epochs": given.epochs}
            recipe = {"name": "methods", "seed": seed, "steps": {"data": data | {"seed": 0}, "tuned": tuned}}
            done = danlu.run(recipe, store=given.store, trackers=[])
            model = done["tuned"]
            found[name].append((accuracy(model, done["data"]), model.manifest["numbers"], own_megabytes(model)))
            score, numbers, size = found[name][-1]
            told = {"method": name, "seed": seed, "accuracy": score.value, "low": score.low, "high": score.high}
            print(json.dumps(told | {"seconds": numbers["seconds"], "MB": size}), flush=True)
    print(f"\n{'':12} accuracy  trained    seconds  peak MB     MB")
    for name, runs in found.items():
        numbers, size = runs[0][1:]
        mean = statistics.mean(score.value for score, _, _ in runs)
        line = f"{name:12}   {mean:.4f}  {numbers['trained_share']:7.3%}  {numbers['seconds']:9.1f}"
        print(f"{line}  {numbers['peak_memory_mb']:7.0f}  {size:5.1f}")


if __name__ == "__main__":
    main()
