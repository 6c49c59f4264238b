"""What an exported folder costs: megabytes installed into a fresh environment, and the time to its first answer.

    python benchmarks/export_start.py FOLDER              an exported folder; needs the package index
    python benchmarks/export_start.py FOLDER --here       with this environment's packages; times only

Prints one JSON object: `installed_mb` (all that pip put there, pip itself aside), and the seconds from the start of the
process to the end of the first answer, the median and the worst of `--rounds`. Ends with 1 if the limits of 150 MB and
1 s are missed or `answer.py --check` fails.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_MB, MOST_SECONDS = 150, 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--here", action="store_true", help="use this environment instead of a fresh one")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        python, told = (sys.executable, {}) if options.here else fresh(Path(place), options.folder)
        checked = subprocess.run([python, "answer.py", "--check"], cwd=options.folder, capture_output=True, text=True)
        seconds = [first_answer(python, options.folder, Path(place)) for _ in range(options.rounds)]
    told |= {"check": checked.stdout.strip() or checked.stderr[-300:], "median_s": round(statistics.median(seconds), 3)}
    told |= {"worst_s": round(max(seconds), 3)}
    kept = checked.returncode == 0 and told["median_s"] <= MOST_SECONDS and told.get("installed_mb", 0) <= MOST_MB
    print(json.dumps(told | {"kept": kept}))
    return 0 if kept else 1


def fresh(place: Path, folder: Path) -> tuple[str, dict[str, object]]:
    """A new environment with the requirements of the folder, as its README installs them, and what they weigh."""
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    python = str(place / "venv" / "bin" / "python")
    site = next((place / "venv" / "lib").glob("*/site-packages"))
    empty = size(site)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "-r", "requirements.txt"]
    subprocess.run(pip, cwd=folder, check=True)
    return python, {"installed_mb": round((size(site) - empty) / 1e6, 1)}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def first_answer(python: str, folder: Path, place: Path) -> float:
    """Seconds from nothing to an answer printed."""
    sample = json.loads((folder / "sample.json").read_text())[0]["input"]
    code = "import answer, json, sys; print(answer.Model()(answer.read(json.load(sys.stdin))))"
    began = time.perf_counter()
    subprocess.run(
        [python, "-c", code], cwd=folder, input=json.dumps(sample), text=True, check=True, capture_output=True
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
