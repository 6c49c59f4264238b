"""Learning from few rows of each label: `few_shot` and `zero_shot` on movie-snippets with minilm, and SetFit beside.

    python benchmarks/few_shot.py                                  16 rows a label, draws 0 to 4
    python benchmarks/few_shot.py --rows 8 --draws 0 1 2
    python benchmarks/few_shot.py --method zero_shot --draws 0
    python benchmarks/few_shot.py --setfit path/to/python          the same draws by SetFit

A draw is the seed of which training rows are kept; the test rows are the same for all, and no other row is learnt from.
The descriptions are the words of Schick and Schütze (2021) for reviews; of six wordings tried on 2,600 training rows
they were the best without any training. `seconds` are those of the whole step, from reading the model to writing it;
of SetFit, those of `Trainer.train` alone.
`processor` is the time of the processor, on which other work on the machine weighs less: of the whole
recipe (`prepare` and the step), and of `Trainer.train`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

import danlu
from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.core import assets

DESCRIPTIONS = {"positive": "It was great.", "negative": "It was terrible."}
TASK = {"text_classification": {"text": "text", "label": "label"}}
_SETFIT = """
import json, sys, time
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from setfit import SetFitModel, Trainer, TrainingArguments
given = json.load(open(sys.argv[1]))
part = Transformer(given["folder"], max_seq_length=256)
body = SentenceTransformer(modules=[part, Pooling(part.get_word_embedding_dimension(), "mean")], device="cpu")
model = SetFitModel(model_body=body, model_head=__import__("sklearn.linear_model").linear_model.LogisticRegression())
train = Dataset.from_dict({"text": given["texts"], "label": given["labels"]})
args = TrainingArguments(batch_size=16, num_epochs=1, seed=given["seed"], report_to="none", save_strategy="no")
trainer = Trainer(model=model, args=args, train_dataset=train)
began, worked = time.perf_counter(), time.process_time()
trainer.train()
seconds, processor = time.perf_counter() - began, time.process_time() - worked
found = [str(one) for one in model.predict(given["asked"])]
right = sum(a == b for a, b in zip(found, given["truth"])) / len(found)
print("RESULT" + json.dumps({"accuracy": right, "seconds": seconds, "processor": processor}))
"""


def prepared(store: Path) -> DataSet:
    """The whole data set, cut once with seed 0."""
    operators = ["normalize", "drop_empty", "drop_duplicates"]
    data = {"do": "prepare", "source": {"asset": "movie-snippets"}, "task": TASK, "operators": operators}
    recipe = {"name": "few", "seed": 0, "steps": {"data": data | {"split": {"validation": 0.1, "test": 0.2}}}}
    return DataSet.open(danlu.run(recipe, store=store, trackers=[])["data"].path)


def drawn(data: DataSet, rows: int, draw: int) -> Any:
    """So many training rows of each label, by lot."""
    table, rng = data.table("train"), np.random.default_rng(draw)
    labels = np.array(table.column("label").to_pylist())
    places = [rng.permutation(np.flatnonzero(labels == label))[:rows] for label in DESCRIPTIONS]
    return table.take(np.concatenate(places))


def ours(data: DataSet, table: Any, method: Any, draw: int, store: Path) -> dict[str, float]:
    """A recipe over the drawn rows, and its accuracy on the test rows."""
    folder = store / "drawn" / f"{draw}-{table.num_rows}"
    folder.mkdir(parents=True, exist_ok=True)
    splits = {"train": table, "validation": data.table("validation")[:8], "test": data.table("test")}
    for split, part in splits.items():
        pq.write_table(part.select(["text", "label"]), folder / f"{split}.parquet")
    source = {"do": "prepare", "source": {"parquet": str(folder)}, "task": TASK, "operators": []}
    tuned = {"do": "finetune", "backbone": {"pretrained": "asset:minilm"}, "method": method, "keep": "last"}
    recipe = {"name": "few", "seed": draw, "steps": {"data": source, "tuned": tuned}}
    began = time.process_time()
    done = danlu.run(recipe, store=store, trackers=[])
    processor = time.process_time() - began
    model = done["tuned"]
    inputs, gold = data.judged("test")
    answers = bundle.load(model.path / "trained")(inputs)
    right = [answer["label"] == truth["label"] for answer, truth in zip(answers, gold, strict=True)]
    return {"accuracy": sum(right) / len(right), "seconds": model.manifest["seconds"], "processor": processor}


def setfit(python: str, data: DataSet, table: Any, draw: int, store: Path) -> dict[str, float]:
    """The same rows by SetFit with its own defaults for one epoch, mean pooling and its logistic regression."""
    inputs, gold = data.judged("test")
    given = {
        "folder": str(assets.resolve("asset:minilm")), "seed": draw,
        "texts": table.column("text").to_pylist(), "labels": table.column("label").to_pylist(),
        "asked": list(inputs), "truth": [one["label"] for one in gold],
    }  # fmt: skip
    store.mkdir(parents=True, exist_ok=True)
    (store / "given.json").write_text(json.dumps(given), encoding="utf-8")
    command = [python, "-c", _SETFIT, str(store / "given.json")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said.rpartition("RESULT")[2])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("few_shot", "zero_shot"), default="few_shot")
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--setfit", help="a Python that has setfit")
    parser.add_argument("--store", type=Path, default=Path("few-store"))
    given = parser.parse_args()
    data = prepared(given.store)
    found = []
    for draw in given.draws:
        table = drawn(data, given.rows, draw)
        began = time.perf_counter()
        if given.setfit:
            found.append(setfit(given.setfit, data, table, draw, given.store))
        else:
            method = {given.method: {"descriptions": DESCRIPTIONS} | given.options}
            found.append(ours(data, table, method, draw, given.store))
        whole = time.perf_counter() - began
        counts = {one["values"]: one["counts"] for one in pc.value_counts(table.column("label")).to_pylist()}
        print(json.dumps({"draw": draw, "rows": counts, **found[-1], "whole": whole}), flush=True)
    for name in ("accuracy", "seconds", "processor"):
        print(f"mean {name} {statistics.mean(one[name] for one in found):.4f}")


if __name__ == "__main__":
    main()
