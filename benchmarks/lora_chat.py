"""LoRA on SmolLM2 (135 million weights), 2 conversations of 128 tokens a step, on the CPU: Danlu beside its peers.

    pip install 'danlu[gguf]' && danlu assets get smollm2-135m
    python benchmarks/lora_chat.py                         five rounds of six steps each
    python benchmarks/lora_chat.py --threads 1 --steps 3   the short form
    python benchmarks/lora_chat.py --llamafactory PYTHON   and LLaMA-Factory itself, installed beside that Python
    python benchmarks/lora_chat.py --quantized             beside the frozen base in eight bits, in place of the peers

Peers, in turn, so that a busy machine slows all alike; the first two in the same process:

- `loop`: transformers and peft, written by hand: base in bfloat16, adapters in float32, autocast, AdamW, clipping.
- `trainer`: the HF Trainer with what LLaMA-Factory sets by default: the same, and gradient checkpointing.
- `llamafactory`: its own command, with the versions of its libraries that it asks for (`lora_peer_llamafactory.py`).

All train rank 8 beside every linear layer but the head, on the same tokens, of which half (`--answers`) are an answer's
and have a loss. Told are steps a second by the clock (median of rounds), seconds of processor a step, and of ours the
megabytes held for weights: the model's and, of frozen ones, the copies that products are made of.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="1000", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model

from danlu.blocks.allocator import keep_freed_memory
from danlu.contracts import Beginning, Example
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.tasks.chat import Chat
from danlu.training.job import Job
from danlu.training.run import Run
from danlu.training.settings import TrainSettings

BATCH, TOKENS, RATE = 2, 128, 1e-4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Steps = Callable[[int], None]
Told = tuple[float, float]
"""Steps a second, and seconds of processor a step."""


def conversations(answers: float) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Ids of sixteen conversations, and the places of what is learnt in each."""
    rng = np.random.default_rng(0)
    taught = np.arange(TOKENS - round(answers * TOKENS), TOKENS)
    return [(rng.integers(100, 40_000, TOKENS), taught[taught > 0]) for _ in range(16)]


def ours(backbone: Pretrained, answers: float, held: dict[str, float], quantized: bool = False) -> Steps:
    """The steps of Danlu's training loop; what its weights take is told in `held` after the first."""
    folder = backbone.folder()
    task, processor = Chat(length=TOKENS), backbone.processor(folder)
    examples = [example(ids, taught) for ids, taught in conversations(answers)]
    module, fresh = backbone.start(task.head(), processor)
    method = LoRA(quantized="int8" if quantized else None).resolve(fresh)
    module = method.wrap(module)
    method.begin(module, Beginning(task.head(), processor, examples))
    settings = TrainSettings(precision="bf16", steps=10_000, batch_size=BATCH, lr=RATE, device="cpu")
    run = Run(Job(module, task, processor, examples, settings=settings, method=method), "bf16")

    def steps(count: int) -> None:
        for _ in range(count):
            batches = run.draw()
            run.begin_turn(run.turns[0])
            for batch in batches:
                run.learn(batch)
            run.move()
            run.end_turn()
            run.step += 1
        held["danlu int8" if quantized else "danlu"] = megabytes(module)

    return steps


def megabytes(module: torch.nn.Module) -> float:
    """What its weights take, and the narrow copies of frozen ones."""
    copies = [part.frozen._narrow for part in module.modules() if hasattr(part, "frozen")]
    return sum(t.nbytes for t in (*module.parameters(), *module.buffers(), *copies) if t is not None) / 1e6


def example(ids: np.ndarray[Any, Any], taught: np.ndarray[Any, Any]) -> Example:
    inputs = {"input_ids": ids, "segments": np.ones_like(ids), "at": taught - 1, "tokens": ids[taught]}
    return Example(inputs, {"targets": ids[taught]}, count=float(len(taught)))


def adapted(folder: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS, task_type="CAUSAL_LM"))


def labelled(answers: float) -> list[dict[str, torch.Tensor]]:
    """The conversations as the library takes them."""
    made = []
    for ids, taught in conversations(answers):
        labels = np.full_like(ids, -100)
        labels[taught] = ids[taught]
        made.append({
            "input_ids": torch.from_numpy(ids), "attention_mask": torch.ones(TOKENS, dtype=torch.int64),
            "labels": torch.from_numpy(labels),
        })  # fmt: skip
    return made


def loop(folder: Path, answers: float) -> Steps:
    """transformers and peft, written by hand."""
    model, rows = adapted(folder).train(), labelled(answers)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, fused=True)
    batches = [
        {name: torch.stack([row[name] for row in rows[k : k + BATCH]]) for name in rows[0]}
        for k in range(0, len(rows), BATCH)
    ]

    def steps(count: int) -> None:
        for k in range(count):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**batches[k % len(batches)]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()

    return steps


def trainer(folder: Path, answers: float, work: str) -> Steps:
    """The HF Trainer with LLaMA-Factory's defaults."""
    model, rows = adapted(folder), labelled(answers)
    model.enable_input_require_grads()

    def steps(count: int) -> None:
        arguments = transformers.TrainingArguments(
            output_dir=work, per_device_train_batch_size=BATCH, max_steps=count, learning_rate=RATE, bf16=True,
            lr_scheduler_type="cosine", gradient_checkpointing=True, use_cpu=True, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            transformers.Trainer(model, arguments, train_dataset=rows).train()

    return steps


class LlamaFactory:
    """The peer in a process of its own, with the threads of this one."""

    def __init__(self, python: str, folder: Path, answers: float) -> None:
        peer = Path(__file__).with_name("lora_peer_llamafactory.py")
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        self._process = subprocess.Popen(
            [python, str(peer), str(folder), str(answers)], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __call__(self, count: int) -> Told:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):  # the rest is what the library prints itself
                told = json.loads(line)
                return told["rate"], told["cpu"]
        raise SystemExit("LLaMA-Factory ended: run lora_peer_llamafactory.py by hand to see why")


def timed(steps: Steps) -> Callable[[int], Told]:
    """A contender of this process, with its clocks; warmed up."""
    steps(2)

    def run(count: int) -> Told:
        clock, cpu = time.perf_counter(), time.process_time()
        steps(count)
        return count / (time.perf_counter() - clock), (time.process_time() - cpu) / count

    return run


def measured(contenders: dict[str, Callable[[int], Told]], rounds: int, count: int) -> dict[str, Told]:
    """The median of rounds in which each has its turn."""
    found: dict[str, list[Told]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            found[name].append(run(count))
    return {name: tuple(map(statistics.median, zip(*told, strict=True))) for name, told in found.items()}  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--answers", type=float, default=0.5, help="share of the tokens that are an answer's")
    parser.add_argument("--llamafactory", metavar="PYTHON", help="a Python that has LLaMA-Factory")
    parser.add_argument(
        "--quantized", action="store_true", help="compare with a base of eight bits, not with the peers"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    transformers.utils.logging.set_verbosity_error()
    backbone = Pretrained(model="asset:smollm2-135m")
    folder = backbone.folder()
    held: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as work:
        contenders: dict[str, Callable[[int], Told]] = {"danlu": timed(ours(backbone, given.answers, held))}
        if given.quantized:
            contenders["danlu int8"] = timed(ours(backbone, given.answers, held, quantized=True))
        else:
            contenders |= {
                "loop": timed(loop(folder, given.answers)),
                "trainer": timed(trainer(folder, given.answers, work)),
            }
        if given.llamafactory:
            contenders["llamafactory"] = LlamaFactory(given.llamafactory, folder, given.answers)
        found = measured(contenders, given.rounds, given.steps)
    peer = list(found)[-1]
    for name, (rate, cpu) in found.items():
        print(f"{name:12} {rate:6.2f} steps/s   {cpu:6.2f} s of processor a step   {rate / found[peer][0]:.2f} ×")
    for name, size in held.items():
        print(f"{name:12} {size:6.0f} MB of weights")
    return 0 if given.quantized or found["danlu"][0] >= 1.7 * found[peer][0] else 1


if __name__ == "__main__":
    raise SystemExit(main())
