"""What is forgotten of a first domain while a model is trained on a second one, with and without what holds it.

    python benchmarks/forgetting.py --first movie-snippets --second amazon-snippets

The domains are assets with the columns `text` and `label`. Four ways of two epochs take nine minutes on two cores.
A line is the accuracy on the frozen test rows of both: after the first domain, then after the second with each of the
techniques. `lost` is what the first domain fell by, `of plain` its share of what it falls by without a technique.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import danlu
from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.core.artifact import Artifact

WAYS: dict[str, list[Any]] = {
    "plain": [],
    "replay": [{"replay": {"share": 0.5}}],
    "replay, one for one": [{"replay": {"share": 1.0}}],
    "replay, 200 rows": [{"replay": {"share": 0.5, "rows": 200}}],
    "ewc": ["ewc"],
    "ewc, softer": [{"ewc": {"strength": 30000.0}}],
    "ewc, stiffer": [{"ewc": {"strength": 1.0e8}}],
    "lwf": [{"lwf": {"weight": 1.0}}],
}


def accuracy(model: Artifact, data: Artifact) -> float:
    """The share of a data set's test rows that a model answers rightly."""
    inputs, gold = DataSet.open(data.path).judged("test")
    forms = bundle.Forms.open(model.path)
    answers = bundle.load(forms.folder(forms.default))(inputs)
    return sum(answer["label"] == truth["label"] for answer, truth in zip(answers, gold, strict=True)) / len(gold)


def step(source: Any) -> dict[str, Any]:
    """A domain as a data set."""
    chosen = {"text_classification": {"text": "text", "label": "label"}}
    return {"do": "prepare", "source": source, "task": chosen, "operators": ["drop_empty", "drop_duplicates"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", default="movie-snippets")
    parser.add_argument("--second", default="amazon-snippets")
    parser.add_argument("--backbone", type=json.loads, default={"pretrained": "asset:minilm"})
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--lr", type=float, help="of the second training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--store", type=Path, default=Path("forgetting-store"))
    given = parser.parse_args()
    sources = [{"asset": name} for name in (given.first, given.second)]
    common = {"do": "finetune", "epochs": given.epochs}
    second = common | {"base": "$tuned", "before": "$first", "dataset": "$second"}
    if given.lr:
        second["lr"] = given.lr
    steps: dict[str, Any] = {"first": step(sources[0]), "tuned": common | {"backbone": given.backbone}}
    steps["second"] = step(sources[1])
    steps |= {f"way{k}": second | {"techniques": WAYS[way]} for k, way in enumerate(given.ways)}
    recipe = {"name": "forgetting", "seed": given.seed, "steps": steps}
    done = danlu.run(recipe, store=given.store, trackers=[])
    tell(done, given.ways)


def tell(done: dict[str, Artifact], ways: list[str]) -> None:
    """The table."""
    start = accuracy(done["tuned"], done["first"])
    print(f"{'':18}   first  second    lost  of plain")
    print(f"{'first domain alone':18}  {start:.4f}  {accuracy(done['tuned'], done['second']):.4f}")
    plain = 0.0
    for k, way in enumerate(ways):
        first, second = (accuracy(done[f"way{k}"], done[name]) for name in ("first", "second"))
        plain = start - first if way == "plain" else plain
        share = f"{(start - first) / plain:8.2f}" if plain > 0 else ""
        print(f"{way:18}  {first:.4f}  {second:.4f}  {start - first:6.4f}  {share}", flush=True)


if __name__ == "__main__":
    main()
