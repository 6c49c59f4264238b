"""Reading, cleaning and tokenising text: MB/s of each step and of all, beside a plain Python script that does the same.

    python benchmarks/clean_text.py [--mb 200] [--rounds 3]

Writes a JSON Lines file of reviews, each one to eight joined texts of movie-snippets or chinese-reviews, half of the
bytes English and half Chinese; a twentieth of the rows are duplicates, a fiftieth hold HTML, a hundredth were read in
the wrong encoding. Three things run in turn, each in a process of its own that tells its seconds and its greatest
resident set: `clean` reads the file, applies the operators and cuts every text into the ids of minilm; `plain` does the
same row by row, as a script without Danlu would; `prepare` is the stage with these operators, which cuts no tokens.
Loading the tokenizer and importing count for none of them, save in `cpu_seconds`. MB are millions of bytes of the
texts in UTF-8.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import ftfy
import pyarrow as pa

from danlu.blocks.crew import Crew
from danlu.blocks.cutting import cut_texts
from danlu.blocks.journal import Journal
from danlu.blocks.sifting import Sifting
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Columns, Operator
from danlu.core import assets
from danlu.core.artifact import Store
from danlu.core.events import Events
from danlu.plugins.operators.quality import Quality
from danlu.plugins.operators.strip_html import text_of
from danlu.plugins.sources.asset import Asset
from danlu.plugins.sources.jsonl import JSONL
from danlu.stages.prepare import Prepare

OPERATORS = ("normalize", "strip_html", "fix_encoding", "drop_empty", "quality", "drop_duplicates")
SIDES = ("clean", "plain", "prepare")


def write(path: Path, size: int) -> dict[str, float]:
    """A file with `size` bytes of text; how many rows and MB it has."""
    draw, rows, written, recent = random.Random(0), 0, 0, list[str]()
    texts = [
        [text for text in pa.Table.from_batches(Asset(asset=name).rows()).column("text").to_pylist() if text]
        for name in ("movie-snippets", "chinese-reviews")
    ]
    done = [0, 0]
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            side = int(done[1] < done[0])
            text = " ".join(draw.choices(texts[side], k=draw.randint(1, 8)))
            chance = draw.random()
            if chance < 0.05 and recent:
                text = draw.choice(recent)
            elif chance < 0.07:
                text = f"<p>{text.replace(' ', '<br/>', 2)}</p>&nbsp;<a href='#'>more</a>"
            elif chance < 0.08:
                text = f"{text} caf\u00e9 d\u00e9j\u00e0 vu".encode().decode("cp1252", "ignore")
            recent = [*recent[-999:], text]
            length = len(text.encode())
            done[side], written, rows = done[side] + length, written + length, rows + 1
            row = {"id": rows, "text": text, "label": draw.choice(["good", "bad"])}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return {"rows": rows, "mb": written / 1e6}


def clean(path: Path, folder: Path) -> dict[str, Any]:
    """The operators as the stage applies them, and the tokenizer."""
    tokenizer, operators = _tokenizer(), [Operator.choose(name) for name in OPERATORS]
    clock = [_Clock()]
    with Journal(folder) as journal, Crew() as crew:
        sifting = Sifting(folder, journal, Events.silent(), 0, crew)
        rows, _ = sifting.read(JSONL(path=str(path)))
        clock.append(_Clock())
        rows = sifting.operate(rows, operators, Columns(("text",), ("label",)))
        clock.append(_Clock())
        texts = (text for piece in rows for chunk in piece.column("text").chunks for text in chunk.to_pylist())
        tokens = sum(len(one["input_ids"]) for one in cut_texts(tokenizer, texts, None, crew, rows.nbytes))
        clock.append(_Clock())
    steps = dict(zip(("read", "clean", "tokens"), pairwise(clock), strict=True))
    return {
        "rows": rows.num_rows,
        "tokens": tokens,
        "seconds": clock[-1].seconds - clock[0].seconds,
        "steps": {name: end.seconds - begin.seconds for name, (begin, end) in steps.items()},
        "own_cpu": {name: end.cpu - begin.cpu for name, (begin, end) in steps.items()},
    }


class _Clock:
    """A moment, and the processor time of this process until then; with DANLU_WORKERS=1 that is all there is."""

    def __init__(self) -> None:
        self.seconds, self.cpu = time.perf_counter(), time.process_time()


def plain(path: Path, folder: Path) -> dict[str, Any]:
    """The same row by row; `text_of` and `broken` are ours too, since no library has them."""
    tokenizer, quality = _tokenizer()._cutter(512), Quality()
    control, space = (
        re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u2060-\u206f\ufeff]+"),
        re.compile(r"\s+"),
    )
    began, seen, rows, tokens = time.perf_counter(), set[str](), 0, 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            text = space.sub(" ", control.sub("", unicodedata.normalize("NFKC", row["text"]))).strip()
            text = ftfy.fix_encoding(text_of(text))
            if text.strip() and row["label"] and not quality.broken(text) and text not in seen:
                seen.add(text)
                rows, tokens = rows + 1, tokens + len(tokenizer.encode(text).ids)
    return {"rows": rows, "tokens": tokens, "seconds": time.perf_counter() - began}


def prepare(path: Path, folder: Path) -> dict[str, Any]:
    """The whole stage, with these operators; its data set is kept in the folder."""
    task = {"text_classification": {"text": "text", "label": "label"}}
    stage = Prepare(source={"jsonl": str(path)}, task=task, operators=OPERATORS)
    draft = Store(folder / "store").draft(
        "0" * 64, kind="dataset", step="data", stage="prepare", inputs={}, settings={}
    )
    began = time.perf_counter()
    stage.run({}, draft, Events.silent())
    made = draft.commit()
    seconds = time.perf_counter() - began
    return {"rows": sum(made.json("dataset.json")["rows"].values()), "seconds": seconds}


def _tokenizer() -> TextProcessor:
    pa.array([""])  # imports pandas, where it is installed
    return TextProcessor.load(assets.folder("minilm"))


def _processor() -> float:
    """Seconds of this process and of those it has started."""
    return sum(os.times()[:4])


def work(side: str, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = {"clean": clean, "plain": plain, "prepare": prepare}[side](path, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(told | {"cpu_seconds": _processor(), "peak_gb": round(peak, 2)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(chosen.work[0], Path(chosen.work[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        figures: dict[str, Any] = write(path, int(chosen.mb * 1e6))
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for _ in range(chosen.rounds):
            for side in SIDES:
                command = [sys.executable, __file__, "--work", side, str(path)]
                runs[side].append(
                    json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                )
    for side in SIDES:
        speeds = sorted(figures["mb"] / run["seconds"] for run in runs[side])
        spread = {"mb_per_s": statistics.median(speeds), "min_max": [speeds[0], speeds[-1]]}
        figures[side] = runs[side][-1] | spread
    ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in zip(runs["clean"], runs["plain"], strict=True)]
    figures["clean_to_plain"] = statistics.median(ratios)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
