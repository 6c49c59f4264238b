"""The classic models on short reviews: accuracy, seconds to learn, megabytes, milliseconds an answer.

    python benchmarks/classic_models.py            # ten minutes on two cores
    python benchmarks/classic_models.py --small    # 2,000 rows, one epoch: two minutes

Each model goes through `prepare`, `finetune` and `evaluate` on the asset movie-snippets; the accuracy is that of the
test rows, with its 95 % interval, an answer is asked alone, in torch. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import danlu
from danlu.plugins.sources.asset import Asset

MODELS: dict[str, dict[str, Any]] = {
    "majority": {"backbone": "majority"},
    "naive_bayes": {"backbone": "naive_bayes"},
    "naive_bayes, complement": {"backbone": {"naive_bayes": "complement"}},
    "linear_svm": {"backbone": "linear_svm"},
    "tfidf_lr": {"backbone": "tfidf_lr"},
    "fasttext": {"backbone": "fasttext", "epochs": 5, "lr": 0.01},
    "text_mlp": {"backbone": "text_mlp", "epochs": 3},
    "text_cnn": {"backbone": "text_cnn", "epochs": 3},
    "lstm": {"backbone": "lstm", "epochs": 3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="2,000 rows and one epoch")
    parser.add_argument("--only", nargs="*", choices=MODELS, help="these models alone")
    args = parser.parse_args()
    data: dict[str, Any] = {"do": "prepare", "source": {"asset": "movie-snippets"}, "task": "text_classification"}
    found = {}
    with tempfile.TemporaryDirectory(prefix="classic-") as folder:
        if args.small:
            data["source"] = {"jsonl": few_rows(Path(folder) / "few.jsonl")}
        for name in args.only or MODELS:
            settings = MODELS[name] | ({"epochs": 1} if args.small and "epochs" in MODELS[name] else {})
            found[name] = measured(data, settings, Path(folder) / "store")
            print(f"{name:24}", json.dumps(found[name]), file=sys.stderr)
    print(json.dumps(found, indent=1))


def few_rows(path: Path) -> str:
    """A file with every fifth row or so, 2,000 in all."""
    rows = [row for batch in Asset(asset="movie-snippets").rows() for row in batch.to_pylist()]
    chosen = [rows[k * len(rows) // 2000] for k in range(2000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    return str(path)


def measured(data: dict[str, Any], settings: dict[str, Any], store: Path) -> dict[str, Any]:
    """One model through the stages."""
    steps = {"data": data, "tuned": {"do": "finetune", **settings}, "score": {"do": "evaluate", "baselines": []}}
    danlu.run({"steps": {"data": data}}, store=store, trackers=[])
    begun = time.perf_counter()
    danlu.run({"steps": {name: steps[name] for name in ("data", "tuned")}}, store=store, trackers=[])
    seconds = time.perf_counter() - begun
    scores = danlu.run({"steps": steps}, store=store, trackers=[])["score"].json("scores.json")["metrics"]
    accuracy = scores["accuracy"]
    return {
        "accuracy": round(accuracy["value"], 3),
        "low": round(accuracy["low"], 3),
        "high": round(accuracy["high"], 3),
        "seconds": round(seconds, 1),
        "mb": round(scores["size"]["value"], 2),
        "ms": round(scores["latency"]["value"], 2),
    }


if __name__ == "__main__":
    main()
