"""LLaMA-Factory's own fine-tuning, a peer of `lora_chat.py`; runs in a Python that has it installed.

    PYTHON benchmarks/lora_peer_llamafactory.py MODEL_FOLDER ANSWERS

Reads a number of steps a line, trains so many of 2 conversations of 128 tokens by `run_exp` with LLaMA-Factory's
defaults for LoRA (rank 8, all linear layers, gradient checkpointing) in bfloat16 on the CPU, and writes a line of JSON:
the steps a second that its trainer reports, which leave loading and reading out.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", DISABLE_VERSION_CHECK="1", CUDA_VISIBLE_DEVICES="")

from llamafactory.train.tuner import run_exp

TOKENS = 128


def conversations(answers: float) -> list[dict[str, str]]:
    """Rows long enough to be cut to TOKENS tokens, of which the given share is the answer's."""
    words = 4 * TOKENS
    asked = max(1, round((1 - answers) * words))
    return [{"instruction": " ".join(f"ask {k}" for k in range(asked // 2)), "input": "",
             "output": " ".join(f"say {n + k}" for k in range((words - asked) // 2))} for n in range(16)]  # fmt: skip


def train(folder: str, work: Path, steps: int) -> float:
    """Steps a second."""
    run_exp({
        "stage": "sft", "do_train": True, "model_name_or_path": folder, "finetuning_type": "lora", "lora_rank": 8,
        "lora_target": "all", "dataset": "rows", "dataset_dir": str(work), "template": "smollm", "cutoff_len": TOKENS,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "max_steps": steps, "bf16": True,
        "use_cpu": True, "learning_rate": 1e-4, "lr_scheduler_type": "cosine", "output_dir": str(work / "out"),
        "report_to": "none", "overwrite_output_dir": True, "overwrite_cache": True, "save_strategy": "no",
        "logging_steps": 1000, "disable_tqdm": True, "preprocessing_num_workers": 1,
    })  # fmt: skip
    return float(json.loads((work / "out" / "train_results.json").read_text())["train_steps_per_second"])


def main() -> None:
    folder, answers = sys.argv[1], float(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "rows.json").write_text(json.dumps(conversations(answers)))
        (work / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
        for line in sys.stdin:
            with contextlib.redirect_stdout(sys.stderr):
                cpu = time.process_time()
                rate = train(folder, work, int(line))
                cpu = time.process_time() - cpu
            print(json.dumps({"rate": rate, "cpu": cpu / int(line)}), flush=True)


if __name__ == "__main__":
    main()
