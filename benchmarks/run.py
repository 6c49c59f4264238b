"""Run every benchmark, one after another, and print their figures. `make bench` does this; about half an hour."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RECIPE = "recipes/review_sentiment.yaml"
BENCHMARKS = (
    ("registry_writers.py",),
    ("resume_exact.py",),
    ("finetune_text.py",),
    ("answer_text.py",),
    ("commands.py", "--recipe", RECIPE),
    ("serve_http.py",),
    ("export_start.py",),
)


def main() -> int:
    subprocess.run([str(Path(sys.executable).with_name("danlu")), "run", RECIPE], check=True)
    failed = 0
    for name, *arguments in BENCHMARKS:
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        failed += bool(subprocess.run([sys.executable, str(HERE / name), *arguments]).returncode)
    return failed


if __name__ == "__main__":
    sys.exit(main())
