"""Pre-training a language model on real documents: tokens per second and peak memory beside the HF Trainer.

    danlu assets get libreoffice-help shakespeare
    python benchmarks/pretrain_text.py                    masked language model, 4 × 256, 3 rounds of 2,000 documents
    python benchmarks/pretrain_text.py --task causal      a llama of the same size

Both sides get the same documents, sections of LibreOffice's help as texts in memory, the same tokenizer of 16,000
pieces (learnt before, from them and from Shakespeare, since they alone give half as many), blocks of 128 tokens,
batches of 32, bf16 and one epoch. One clock runs around all that a side does with them: cut into tokens, packed,
masked, and learnt from. The HF side is that of transformers' `run_mlm.py` and `run_clm.py`: `datasets.map` to cut and
to pack, its collator for language models, `Trainer` with `bf16=True`; it packs without a mask between documents, and
drops what fills no block. Danlu's packs with one, and drops nothing. Tokens are those that a side has learnt from.

Each side has a process of its own, they take turns, and the first round is that of a new process after a warm-up of 40
documents. Peak memory is that of the process above what it had before the warm-up.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers
from finetune_text import Worker  # sets the environment: before torch

from danlu.blocks import hf
from danlu.blocks.special_tokens import BERT, LLAMA
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Head
from danlu.core.events import Events
from danlu.core.machine import tune_threads_env
from danlu.plugins.sources.asset import Asset
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.plugins.tasks.masked_lm import MaskedLm
from danlu.plugins.tokenizers.bpe import Bpe
from danlu.plugins.tokenizers.wordpiece import Wordpiece
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed
from danlu.training.settings import TrainSettings

VOCABULARY, LENGTH, BATCH, LR = 16_000, 128, 32, 1e-4
SHAPE = {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
SIDES = ("danlu", "hf")


def documents(asset: str = "libreoffice-help") -> list[str]:
    """The texts of an asset: sections of the help, each of them some sentences or some paragraphs."""
    found: list[str] = []
    for batch in Asset(asset=asset).rows():
        found += [text for text in batch.column("text").to_pylist() if text]
    return found


def prepare(folder: Path, task: str) -> None:
    """The tokenizer that both sides take, and which task it is for."""
    made: Any = Wordpiece(size=VOCABULARY) if task == "masked" else Bpe(size=VOCABULARY)
    texts = [*documents(), *documents("shakespeare")]
    made.learn(texts, BERT if task == "masked" else LLAMA, 512).save(folder)
    (folder / "task.json").write_text(json.dumps({"task": task}))


class Side:
    """One of the trainers, with the documents and the tokenizer."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.documents = name, folder, documents()
        self.task = json.loads((folder / "task.json").read_text())["task"]
        self.processor = TextProcessor.load(folder)
        transformers.logging.set_verbosity_error()
        self._before = _peak()

    def run(self, count: int, seed: int) -> dict[str, float]:
        """Train one epoch on some documents: tokens learnt from, seconds, those of the processors, peak memory."""
        begin = seed * count % (len(self.documents) - count + 1)
        texts, module = self.documents[begin : begin + count], self._module()
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = (self._danlu if self.name == "danlu" else self._hf)(module, texts)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"tokens": tokens, "wall": wall, "cpu": cpu, "peak_mb": _peak() - self._before}

    def _module(self) -> Any:
        reseed(0, Stream.START)
        kind, per = ("bert", "gap") if self.task == "masked" else ("llama", "next")
        more = {"num_key_value_heads": 4, "tie_word_embeddings": True} if kind == "llama" else {}
        size = {"vocab_size": self.processor.size, "max_position_embeddings": 512}
        settings = {**size, **SHAPE, **more}
        pad = self.processor.pad_id
        if self.name == "danlu":
            return hf.from_scratch(kind, Head(per), pad, **settings)
        config = transformers.CONFIG_MAPPING[kind](pad_token_id=pad, **settings)
        made: Any = transformers.AutoModelForMaskedLM if kind == "bert" else transformers.AutoModelForCausalLM
        return made.from_config(config, dtype=torch.float32)

    def _danlu(self, module: Any, texts: list[str]) -> int:
        task: Any = (MaskedLm if self.task == "masked" else CausalLm)(text="text", length=LENGTH)
        settings = TrainSettings(epochs=1, batch_size=BATCH, precision="bf16", lr=LR)
        with tempfile.TemporaryDirectory() as folder:
            rows = [{"text": text} for text in texts]
            blocks = task.pack(lambda: rows, self.processor, Path(folder), ("benchmark",), lambda _: None)
            fit(Job(module, task, self.processor, blocks, settings=settings, events=Events.silent()))
            return int(sum(blocks.lengths))

    def _hf(self, module: Any, texts: list[str]) -> int:
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(self.folder)

        def cut(rows: dict[str, Any]) -> Any:
            return tokenizer(rows["text"], return_special_tokens_mask=True)

        def packed(rows: dict[str, Any]) -> dict[str, Any]:
            whole = {name: list(chain(*lists)) for name, lists in rows.items()}
            end = len(whole["input_ids"]) // LENGTH * LENGTH
            return {name: [line[k : k + LENGTH] for k in range(0, end, LENGTH)] for name, line in whole.items()}

        data = datasets.Dataset.from_dict({"text": texts}).map(cut, batched=True, remove_columns=["text"])
        data = data.map(packed, batched=True)
        collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=self.task == "masked")
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                folder, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=LR, report_to=[],
                save_strategy="no", logging_strategy="no", disable_tqdm=True, bf16=True,
                use_cpu=not torch.cuda.is_available(),
            )  # fmt: skip
            transformers.Trainer(module, arguments, train_dataset=data, data_collator=collator).train()
        return len(data) * LENGTH


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(name: str, folder: Path) -> None:
    """A worker: one line `[documents, seed]` in, one line of JSON out; warmed up before the first."""
    if name == "danlu":
        tune_threads_env()  # as its command line does
    side = Side(name, folder)
    side.run(40, 0)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(side.run(*json.loads(line))), flush=True)


def compared(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Tokens per second of both, by round and in all, and danlu's share of the other's peak memory."""
    speeds = {name: [r[name]["tokens"] / r[name]["wall"] for r in rounds] for name in SIDES}
    by_cpu = {name: _sum(rounds, name, "tokens") / _sum(rounds, name, "cpu") for name in SIDES}
    peaks = {name: max(r[name]["peak_mb"] for r in rounds) for name in SIDES}
    whole = {name: _sum(rounds, name, "tokens") / _sum(rounds, name, "wall") for name in SIDES}
    by_round = [round(ours / theirs, 2) for ours, theirs in zip(speeds["danlu"], speeds["hf"], strict=True)]
    return {
        "tokens_per_s": {name: round(value) for name, value in whole.items()},
        "danlu_faster": round(whole["danlu"] / whole["hf"], 2),
        "danlu_faster_by_round": by_round,
        "danlu_faster_median": statistics.median(by_round),
        "danlu_faster_cpu": round(by_cpu["danlu"] / by_cpu["hf"], 2),
        "peak_mb": {name: round(value) for name, value in peaks.items()},
        "danlu_memory": round(peaks["danlu"] / peaks["hf"], 2),
    }


def _sum(rounds: Iterable[dict[str, dict[str, float]]], name: str, what: str) -> float:
    return sum(r[name][what] for r in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("masked", "causal"), default="masked")
    parser.add_argument("--documents", type=int, default=2000, help="documents a round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), given.task)
        workers = {name: Worker(name, Path(folder), __file__) for name in SIDES}
        for k in range(given.rounds):
            rounds.append({name: worker.run(given.documents, k) for name, worker in workers.items()})
            told = (f"{name} {r['tokens'] / r['wall']:.0f}" for name, r in rounds[-1].items())
            print(f"round {k + 1} of {given.rounds}, tokens/s: {', '.join(told)}", flush=True)
        for worker in workers.values():
            worker.close()
    print(json.dumps({"task": given.task, **compared(rounds)}, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        import datasets

        datasets.disable_progress_bars()
        work(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
