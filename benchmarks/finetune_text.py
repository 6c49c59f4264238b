"""Fine-tuning minilm on movie-snippets: examples per second and test accuracy beside the HF Trainer.

    python benchmarks/finetune_text.py                       speed only: 4 rounds of 1,024 examples
    python benchmarks/finetune_text.py --seeds 0 1 2         and one whole epoch a seed, with test accuracy

Every side has a process of its own and gets the same tokens, batches of 32 and learning rate; they take turns, so that
what else the machine does hits all alike. The clock runs around `fit` and around `Trainer.train`. The figure is the
ratio of the total times; the ratio of the processor times (`cpu`) says what it would be on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="1000", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
import transformers
from torch import nn

from danlu.blocks.dataset import DataSet
from danlu.contracts import Example
from danlu.core.artifact import Store
from danlu.core.events import Events
from danlu.core.machine import tune_threads_env
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.stages.prepare import Prepare
from danlu.training.batches import sorted_batches
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed
from danlu.training.settings import TrainSettings

BATCH, LR = 32, 5e-5
HF = {
    "hf-default": {},
    "hf-bf16": {"bf16": True},
    "hf-bf16-grouped": {"bf16": True, "train_sampling_strategy": "group_by_length"},
}
SIDES = ("danlu", *HF)


class Side:
    """One of the trainers, with the data and the pretrained model it needs."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.data, self.backbone = name, DataSet.open(folder), Pretrained()
        self.processor = self.backbone.processor(self.backbone.folder())
        self.train, self.test = (self._examples(split) for split in ("train", "test"))
        transformers.logging.set_verbosity_error()

    def _examples(self, split: str) -> list[Example]:
        return [e for row in self.data.rows(split) for e in self.data.task.examples(row, self.processor)]

    def run(self, count: int, seed: int) -> dict[str, float]:
        """Train one epoch on some examples; seconds, seconds of processor time, and the module's test accuracy."""
        count = min(count or len(self.train), len(self.train))
        begin = seed * count % (len(self.train) - count + 1)
        chosen = self.train[begin : begin + count]
        module = self._danlu_module(seed) if self.name == "danlu" else self._hf_module(seed)
        wall, cpu = time.perf_counter(), time.process_time()
        mfu = (self._danlu if self.name == "danlu" else self._hf)(module, chosen, seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        whole = count == len(self.train)
        accuracy = self.accuracy(module) if whole else 0.0
        return {"examples": count, "wall": wall, "cpu": cpu, "accuracy": accuracy, "mfu": mfu}

    def _danlu_module(self, seed: int) -> nn.Module:
        reseed(seed, Stream.START)
        return self.backbone.start(self.data.task.head(), self.processor)[0]

    def _danlu(self, module: nn.Module, chosen: list[Example], seed: int) -> float:
        settings = TrainSettings(epochs=1, batch_size=BATCH, lr=LR)
        job = Job(module, self.data.task, self.processor, chosen, settings=settings, backbone=self.backbone, seed=seed)
        return float(fit(job).numbers["mfu"] or 0.0)

    def _hf_module(self, seed: int) -> nn.Module:
        transformers.set_seed(seed)
        labels = len(self.data.task.labels)
        return transformers.AutoModelForSequenceClassification.from_pretrained(
            self.backbone.folder(), num_labels=labels
        )

    def _hf(self, module: nn.Module, chosen: list[Example], seed: int) -> float:
        rows = [{"input_ids": e.inputs["input_ids"].tolist(), "labels": int(e.targets["label"])} for e in chosen]
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                folder, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=LR, seed=seed,
                report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, remove_unused_columns=False,
                use_cpu=not torch.cuda.is_available(), **HF[self.name],
            )  # fmt: skip
            data = datasets.Dataset.from_list(rows)
            transformers.Trainer(module, arguments, train_dataset=data, data_collator=padded).train()
        return 0.0  # it does not measure that

    def accuracy(self, module: nn.Module) -> float:
        """The share of right labels on the test set, in fp32."""
        device, right = next(module.parameters()).device, 0
        module.eval()
        with torch.inference_mode():
            for batch in sorted_batches(self.test, self.data.task, self.processor, 64):
                inputs = {name: torch.from_numpy(array).to(device) for name, array in batch.inputs.items()}
                given = module(**inputs)["logits"].argmax(-1).cpu().numpy()
                right += int((given == batch.targets["label"]).sum())
        return right / len(self.test)


def padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    ids, mask = np.zeros((2, len(rows), width), dtype=np.int64)
    for k, row in enumerate(rows):
        ids[k, : len(row["input_ids"])] = row["input_ids"]
        mask[k, : len(row["input_ids"])] = 1
    arrays = {"input_ids": ids, "attention_mask": mask, "labels": np.array([row["labels"] for row in rows])}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


# ---- taking turns ----------------------------------------------------------------------------------------------------


def work(name: str, folder: Path) -> None:
    """A worker: one line `[examples, seed]` in, one line of JSON out; warmed up before the first."""
    if name == "danlu":
        tune_threads_env()  # as its command line does
    side = Side(name, folder)
    side.run(128, 0)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(side.run(*json.loads(line))), flush=True)


class Worker:
    """A side in a process of its own, which a script's `--work` makes."""

    def __init__(self, name: str, folder: Path, script: str = __file__) -> None:
        command = [sys.executable, script, "--work", name, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def run(self, count: int, seed: int) -> dict[str, float]:
        self._process.stdin.write(json.dumps([count, seed]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        for line in self._process.stdout:
            try:
                return json.loads(line)
            except ValueError:
                continue  # what the library prints itself
        raise SystemExit("a side died")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def prepare(folder: Path) -> Path:
    """The data set of `recipes/review_sentiment.yaml`."""
    columns = {"text": "text", "label": "label"}
    stage = Prepare(source={"asset": "movie-snippets"}, task={"text_classification": columns})
    draft = Store(folder).draft("data", kind="dataset")
    stage.run({}, draft, Events.silent())
    return draft.path


def take_turns(workers: dict[str, Worker], count: int, rounds: int, seeds: list[int]) -> tuple[list[Any], list[Any]]:
    """So many rounds on `count` examples, then one on all examples for each seed; the workers end with it."""
    found = []
    for k in range(rounds):
        found.append({name: worker.run(count, k) for name, worker in workers.items()})
        speeds = (f"{name} {r['examples'] / r['wall']:.0f}" for name, r in found[-1].items())
        print(f"round {k + 1} of {rounds}, examples/s: {', '.join(speeds)}", flush=True)
    whole = [{name: worker.run(0, seed) for name, worker in workers.items()} for seed in seeds]
    for worker in workers.values():
        worker.close()
    return found, whole


def compare(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Examples per second of every side, and how many times faster danlu is than the others."""
    if not rounds:
        return {}
    total = {name: {key: sum(r[name][key] for r in rounds) for key in rounds[0][name]} for name in rounds[0]}
    ours = total["danlu"]
    return {
        name: {
            "examples_per_s": round(t["examples"] / t["wall"], 1),
            "danlu_faster": round(t["wall"] / ours["wall"], 2),
            "danlu_faster_by_round": [round(r[name]["wall"] / r["danlu"]["wall"], 2) for r in rounds],
            "danlu_faster_cpu": round(t["cpu"] / ours["cpu"], 2),
        }
        for name, t in total.items()
    }


def show(figures: dict[str, Any], judged: str = "test accuracy, one epoch") -> None:
    print(f"\n{'':18}{'examples/s':>12}{'danlu is':>12}{'cpu':>8}   {judged}")
    for name, found in figures["speed"].items():
        accuracy = figures["accuracy"].get(name, {}).get("by_seed", [])
        told = " ".join(f"{a:.4f}" for a in accuracy)
        times, cpu = found["danlu_faster"], found["danlu_faster_cpu"]
        print(f"{name:18}{found['examples_per_s']:12.1f}{times:11.2f}x{cpu:7.2f}x   {told}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1024, help="examples a round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sides", nargs="+", choices=SIDES[1:], default=SIDES[1:])
    parser.add_argument("--seeds", nargs="*", type=int, default=[], help="train a whole epoch with each, for accuracy")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(Path(folder))
        workers = {name: Worker(name, data) for name in ("danlu", *given.sides)}
        rounds, whole = take_turns(workers, given.examples, given.rounds, given.seeds)
    figures: dict[str, Any] = {"speed": compare(rounds), "accuracy": {}}
    figures["mfu"] = [round(r["danlu"]["mfu"], 3) for r in (*rounds, *whole)]
    if whole:
        figures["whole_epochs"] = compare(whole)
        for name in workers:
            found = [r[name]["accuracy"] for r in whole]
            figures["accuracy"][name] = {"mean": round(statistics.mean(found), 4), "by_seed": found}
    show(figures)
    print(f"danlu's steps, share of the machine's bf16 rate: {', '.join(map(str, figures['mfu']))}")
    print(json.dumps(figures, indent=1))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        import datasets

        work(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main())
