"""Pre-training a masked language model: tokens per second beside the HF Trainer, on the same blocks.

    python benchmarks/pretrain_text.py                            masked language model, 4 × 256, 3 rounds of 60 steps
    python benchmarks/pretrain_text.py --task causal --steps 40   a llama of the same size

Both sides see the same made-up blocks of 128 tokens, drawn by Zipf's law from a vocabulary of 16,000, batches of 32 and
bf16; each has a process of its own, and they take turns. The HF side is `Trainer` with `bf16=True` over blocks that are
packed already (the causal side: documents packed without a mask between them, as `run_clm.py` does), masked by a
collator written here. Peak memory is that of the process above what it had before the first step.

What it does not do: real documents, packing inside the clock, and one clock for both (ours are the seconds of the steps
after a step to warm up, theirs all of `Trainer.train`, which costs about a second by itself), so few steps favour us.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="1000", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
import transformers

from danlu.blocks import hf
from danlu.contracts import Example, Head
from danlu.core.events import Events
from danlu.core.machine import tune_threads_env
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.plugins.tasks.masked_lm import MaskedLm
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed
from danlu.training.settings import TrainSettings

VOCABULARY, LENGTH, BATCH = 16_000, 128, 32
SHAPE = {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}


class Words:
    """A stand-in for a tokenizer: ids without text. The first five are special, 4 is the mask."""

    size, pad_id, most = VOCABULARY, 0, 512
    pad: ClassVar[dict[str, int]] = {"input_ids": 0, "attention_mask": 0}

    def special(self, name: str) -> int | None:
        return {"mask_token": 4, "eos_token": 3}.get(name)

    def specials(self) -> frozenset[int]:
        return frozenset(range(5))

    def begins_words(self) -> Any:
        return np.ones(self.size, dtype=bool)


def documents(blocks: int, mean: int = 60) -> list[tuple[Any, Any]]:
    """Blocks of ids and of the numbers of their documents, of the lengths of short reviews; Zipfian ids."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(blocks):
        ids = np.minimum(rng.zipf(1.2, LENGTH) + 4, VOCABULARY - 1).astype(np.int64)
        ends = np.cumsum(rng.geometric(1 / mean, LENGTH))
        found.append((ids, np.searchsorted(ends, np.arange(LENGTH), side="right") + 1))
    return found


def module(task: str, *, own: bool) -> Any:
    torch.manual_seed(0)
    kind, per = ("bert", "gap") if task == "masked" else ("llama", "next")
    more = {"num_key_value_heads": 4, "tie_word_embeddings": True} if kind == "llama" else {}
    settings = {"vocab_size": VOCABULARY, "max_position_embeddings": 512, **SHAPE, **more}
    if own:
        return hf.from_scratch(kind, Head(per), 0, **settings)
    config = transformers.CONFIG_MAPPING[kind](pad_token_id=0, bos_token_id=2, eos_token_id=3, **settings)
    made: Any = transformers.AutoModelForMaskedLM if task == "masked" else transformers.AutoModelForCausalLM
    return made.from_config(config, dtype=torch.float32)


def danlu_side(task: str, steps: int, precision: str) -> float:
    """Seconds of the steps."""
    processor: Any = Words()
    chosen: Any = MaskedLm(length=LENGTH) if task == "masked" else CausalLm(length=LENGTH)
    examples: list[Example] = [chosen.block(ids, segments, processor) for ids, segments in documents(steps * BATCH)]
    reseed(0, Stream.START)
    settings = TrainSettings(epochs=1, batch_size=BATCH, precision=precision, lr=1e-4)  # type: ignore[arg-type]
    job = Job(module(task, own=True), chosen, processor, examples, settings=settings, events=Events.silent())
    return float(fit(job).numbers["seconds"])


def hf_side(task: str, steps: int, precision: str) -> float:
    """Seconds of `Trainer.train`."""
    rows = [{"input_ids": ids.tolist(), "attention_mask": [1] * LENGTH} for ids, _ in documents(steps * BATCH)]

    def collate(some: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = torch.tensor([row["input_ids"] for row in some])
        labels = ids.clone()
        if task == "masked":  # as DataCollatorForLanguageModeling does it
            asked = torch.rand(ids.shape) < 0.15
            labels[~asked] = -100
            draw = torch.rand(ids.shape)
            ids[asked & (draw < 0.8)] = 4
            other = asked & (draw >= 0.9)
            ids[other] = torch.randint(VOCABULARY, (int(other.sum()),))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=1e-4, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True, bf16=precision == "bf16",
        )  # fmt: skip
        trainer = transformers.Trainer(module(task, own=False), arguments, train_dataset=rows, data_collator=collate)
        began = time.monotonic()
        trainer.train()
        return time.monotonic() - began


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(side: str, task: str, steps: int, precision: str) -> dict[str, float]:
    before, cpu = _peak(), time.process_time()
    seconds = (danlu_side if side == "danlu" else hf_side)(task, steps, precision)
    spent = time.process_time() - cpu
    return {"tokens_per_s": steps * BATCH * LENGTH / seconds, "peak_mb": _peak() - before, "cpu_s": spent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("masked", "causal"), default="masked")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--side", choices=("danlu", "hf"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(one(given.side, given.task, given.steps, given.precision)))
        return
    found: dict[str, list[dict[str, float]]] = {"danlu": [], "hf": []}
    options = ["--task", given.task, "--steps", str(given.steps), "--precision", given.precision]
    for _ in range(given.rounds):
        for side, told in found.items():
            command = [sys.executable, str(Path(__file__)), *options, "--side", side]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            told.append(json.loads(done.stdout.splitlines()[-1]))
            print(side, {name: round(value, 1) for name, value in told[-1].items()}, flush=True)
    middle = {s: {n: statistics.median(t[n] for t in told) for n in told[0]} for s, told in found.items()}
    ratios = {name: round(middle["danlu"][name] / middle["hf"][name], 3) for name in middle["danlu"]}
    print(json.dumps({"task": given.task, "median": middle, "danlu/hf": ratios}))


if __name__ == "__main__":
    tune_threads_env()
    main()
