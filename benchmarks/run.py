"""Run every benchmark, one after another, and print their figures. `make bench` does this.

It takes hours, most of them `pretrain_pays.py`, and the assets that the benchmarks name.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
RECIPE = "recipes/review_sentiment.yaml"
BENCHMARKS = (
    ("registry_writers.py",),
    ("resume_exact.py",),
    ("finetune_text.py",),
    ("finetune_text.py", "--rounds", "0", "--seeds", "0", "--sides", "hf-bf16-grouped"),
    ("entities.py",),
    ("pretrain_text.py",),
    ("pretrain_text.py", "--task", "causal", "--steps", "40"),
    ("ranks.py",),
    ("loop_overhead.py",),
    ("answer_text.py",),
    ("commands.py", "--recipe", RECIPE),
    ("serve_http.py",),
    ("prepare_large.py",),
    ("clean_text.py",),
    ("near_duplicates.py",),
    ("label_errors.py",),
    ("pii.py",),
    ("data_check.py",),
    ("word_vectors.py", "--asset", "movie-snippets", "--seeds", "1"),
    ("pretrain_pays.py",),
)


def main() -> int:
    danlu = str(Path(sys.executable).with_name("danlu"))
    subprocess.run([danlu, "run", RECIPE], check=True)
    with tempfile.TemporaryDirectory() as folder:
        exported = f"{folder}/exported"
        subprocess.run([danlu, "export", "review-sentiment", exported], check=True)
        return sum(run(*benchmark) for benchmark in (*BENCHMARKS, ("export_start.py", exported)))


def run(name: str, *arguments: str) -> bool:
    """Whether it failed."""
    sys.stdout.write(f"\n== {name}\n")
    sys.stdout.flush()
    return bool(subprocess.run([sys.executable, str(HERE / name), *arguments]).returncode)


if __name__ == "__main__":
    sys.exit(main())
