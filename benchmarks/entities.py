"""Tagging conll2003 with minilm: examples per second and entity F1 beside the HF Trainer.

    danlu assets get conll2003 minilm
    python benchmarks/entities.py                            speed only: 3 rounds of 1,024 sentences
    python benchmarks/entities.py --seeds 0 --epochs 2       and whole trainings, with F1 on the test set

The peer trains as transformers' `run_ner.py` does: AutoModelForTokenClassification, the first piece of a word has its
tag and the others none, batches in random order padded to their longest. All sides get the same pieces, batches of 32
and learning rate, have a process each, and take turns. F1 is that of whole entities (conlleval) and is found for all
sides by the same lines, in fp32.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from finetune_text import Worker, compare, show, take_turns  # sets the environment: before torch
from torch import nn

from danlu.blocks.dataset import DataSet
from danlu.contracts import Example
from danlu.core.artifact import Store
from danlu.core.events import Events
from danlu.core.machine import tune_threads_env
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.metrics.entity_f1 import EntityF1
from danlu.stages.prepare import Prepare
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed
from danlu.training.settings import TrainSettings

BATCH, LR = 32, 2e-4
HF = {"hf-default": {}, "hf-bf16": {"bf16": True}}


class Side:
    """One of the trainers, with the data and the pretrained model it needs."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.data, self.backbone = name, DataSet.open(folder), Pretrained()
        self.processor = self.backbone.processor(self.backbone.folder())
        task = self.data.task
        self.train = [e for row in self.data.rows("train") for e in task.examples(row, self.processor)]
        transformers.logging.set_verbosity_error()

    def run(self, count: int, seed: int, epochs: int) -> dict[str, float]:
        """Train on some sentences; seconds, seconds of processor time, and of all sentences the F1 on the test set."""
        count = min(count or len(self.train), len(self.train))
        begin = seed * count % (len(self.train) - count + 1)
        chosen, train = self.train[begin : begin + count], self._danlu if self.name == "danlu" else self._hf
        wall, cpu = time.perf_counter(), time.process_time()
        module = train(chosen, seed, epochs)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        f1 = self.f1(module) if count == len(self.train) else 0.0
        return {"examples": count * epochs, "wall": wall, "cpu": cpu, "accuracy": f1}

    def _danlu(self, chosen: list[Example], seed: int, epochs: int) -> nn.Module:
        reseed(seed, Stream.START)
        module = self.backbone.start(self.data.task.head(), self.processor)[0]
        settings = TrainSettings(epochs=epochs, batch_size=BATCH, lr=LR)
        fit(Job(module, self.data.task, self.processor, chosen, settings=settings, backbone=self.backbone, seed=seed))
        return module

    def _hf(self, chosen: list[Example], seed: int, epochs: int) -> nn.Module:
        transformers.set_seed(seed)
        labels = len(self.data.task.labels)
        folder = self.backbone.folder()
        module = transformers.AutoModelForTokenClassification.from_pretrained(folder, num_labels=labels)
        rows = [{"input_ids": e.inputs["input_ids"].tolist(), "labels": e.targets["tags"].tolist()} for e in chosen]
        with tempfile.TemporaryDirectory() as work:
            arguments = transformers.TrainingArguments(
                work, per_device_train_batch_size=BATCH, num_train_epochs=epochs, learning_rate=LR, seed=seed,
                report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, remove_unused_columns=False,
                use_cpu=not torch.cuda.is_available(), **HF[self.name],
            )  # fmt: skip
            transformers.Trainer(module, arguments, train_dataset=rows, data_collator=padded).train()
        return module

    def f1(self, module: nn.Module) -> float:
        """The F1 of whole entities on the test set."""
        device, task, answers, gold = next(module.parameters()).device, self.data.task, [], []
        module.eval()
        for row in self.data.rows("test"):
            examples, outputs = task.encode(task.ask(row), self.processor), []
            for example in examples:
                inputs = {name: torch.from_numpy(array[None]).to(device) for name, array in example.inputs.items()}
                with torch.inference_mode():
                    outputs.append({"logits": module(**inputs)["logits"][0].cpu().numpy()})
            answers.append(task.decode(task.ask(row), examples, outputs, self.processor))
            gold.append(task.gold(row))
        metric = EntityF1()
        return float(metric.value(metric.read(answers, gold), np.ones(len(gold)))["value"])


def padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    ids, mask, tags = (np.full((len(rows), width), value, dtype=np.int64) for value in (0, 0, -100))
    for k, row in enumerate(rows):
        ids[k, : len(row["input_ids"])] = row["input_ids"]
        mask[k, : len(row["input_ids"])] = 1
        tags[k, : len(row["labels"])] = row["labels"]
    arrays = {"input_ids": ids, "attention_mask": mask, "labels": tags}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def work(name: str, folder: Path) -> None:
    """A worker: one line `[examples, seed]` in, one line of JSON out; warmed up before the first."""
    if name == "danlu":
        tune_threads_env()  # as its command line does
    side = Side(name, folder)
    epochs = int((folder.parent / "epochs").read_text())
    side.run(128, 0, 1)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        count, seed = json.loads(line)
        print(json.dumps(side.run(count, seed, 1 if count else epochs)), flush=True)


def prepare(folder: Path) -> Path:
    """The data set of `recipes/entities.yaml`, with all rows."""
    task = {"token_classification": {"tokens": "tokens", "tags": "tags", "max_length": 128}}
    stage = Prepare(source={"asset": "conll2003"}, task=task)
    draft = Store(folder).draft("data", kind="dataset")
    stage.run({}, draft, Events.silent())
    return draft.path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1024, help="sentences a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=list(HF), default=list(HF))
    parser.add_argument("--seeds", nargs="*", type=int, default=[], help="train on all sentences with each, for F1")
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(Path(folder))
        (data.parent / "epochs").write_text(str(given.epochs))
        workers = {name: Worker(name, data, __file__) for name in ("danlu", *given.sides)}
        rounds, whole = take_turns(workers, given.examples, given.rounds, given.seeds)
    found = {name: {"by_seed": [turn[name]["accuracy"] for turn in whole]} for name in workers} if whole else {}
    figures = {"speed": compare(rounds or whole), "whole": compare(whole), "accuracy": found}
    show(figures, f"F1, {given.epochs} epochs")
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main())
