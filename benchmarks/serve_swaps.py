"""Requests while a served alias moves: how many failed, and was every answer that of a version wanted at that time?

    python benchmarks/serve_swaps.py [--requests 50000] [--swaps 20] [--fault route|drop]

Runs the recipe `digits` into a store of its own, publishes a second version of it (the onnx form serves instead of
int8) and two that must not answer (one byte of a weight flipped; other answers than it was published with), starts
`danlu serve` and asks it over 8 connections that are kept and 8 fresh ones, while the alias goes round, to the bad
ones too. Every answer is compared with the one that its version gives to the same picture alone. `--fault` plants a
fault in the server that must be found: `route` lets a version answer before its sample was asked, `drop` throws away
what waits for the old version. Prints one JSON document; exit code 1 when anything failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "serving"))

from load import Alias, Seen, drive, faults

import danlu
from danlu import api, bundle
from danlu.bundle import Forms
from danlu.registry.store import Registry

FAULTS = {
    "": "",
    "route": "import danlu.serving.hosting as h; h.self_test = lambda *loaded: None",
    "drop": (
        "import danlu.serving.hosting as h; take_over = h.Model._swap\n"
        "def swap(model, serving):\n"
        "    before = model.current; take_over(model, serving)\n"
        "    for item in before.batcher.take_all(): item.job.settle(item.place, RuntimeError('dropped'))\n"
        "h.Model._swap = swap\n"
    ),
}
GOOD, BAD = (1, 2), (3, 4)
LAG = 10.0
"""Seconds within which a moved alias must be followed; each swap is also waited for, and its time told."""


def publish_versions(store: Path) -> Registry:
    """digits@1 serves int8, @2 onnx; @3 has a damaged file, @4 answers that it does not give."""
    danlu.run(ROOT / "recipes" / "digits.yaml", store=store, trackers=[])
    registry = Registry(store)
    first = registry.version("digits", 1)
    for number, default in ((2, "onnx"), (3, "int8"), (4, "onnx")):
        folder = store.parent / f"version-{number}"
        shutil.copytree(registry.open(first), folder)
        folder.chmod(0o755)
        specs = Forms.open(folder).specs
        (folder / "forms.json").unlink()
        Forms.write(folder, specs, default)
        (folder / "note.txt").write_text(f"version {number}")  # equal content would keep its number
        sample = sample_of(folder, default)
        if number == 4:
            for one in sample:
                scores = one["answer"]["scores"]
                one["answer"]["scores"] = dict(zip(scores, [*list(scores.values())[1:], 0.0], strict=True))
        registry.publish("digits", folder, metadata={"sample": sample})
    blob = registry.blobs.path(registry.version("digits", 3).files["note.txt"].sha256)
    blob.chmod(0o644)
    blob.write_bytes(b"another")
    return registry


def sample_of(folder: Path, form: str) -> list[dict]:
    """What `verify` would store with a version that serves this form."""
    predictor = bundle.load(folder / form)
    inputs = [predictor.task.ask(row) for row in predictor.task.sample(4)]
    answers = predictor(inputs)
    return [{"input": predictor.task.to_json(x), "answer": answer} for x, answer in zip(inputs, answers, strict=True)]


def serve(store: Path, fault: str) -> tuple[subprocess.Popen[str], str]:
    code = f"{FAULTS[fault]}\nfrom danlu.cli.main import main\nmain()"
    command = [sys.executable, "-c", code, "serve", "digits", "--port", "0", "--store", str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    url = next(line.split()[0] for line in process.stdout if line.startswith("http://"))
    return process, url


async def swap_under_load(
    registry: Registry, url: str, texts: list[str], swaps: int
) -> tuple[list[Seen], Alias, list[float]]:
    """Move the alias at even distances over the requests; returns what callers saw and how long each swap took."""
    seen: list[Seen] = []
    alias, took = Alias(), []
    alias.moved("digits@1")
    asking = asyncio.create_task(drive(url, texts, seen=seen))
    for k in range(swaps):
        while len(seen) < len(texts) * (k + 1) // (swaps + 1) and not asking.done():
            await asyncio.sleep(0.01)
        number = BAD[k // 4 % 2] if k % 4 == 3 else GOOD[(k + 1) % 2]
        began = time.monotonic()
        await asyncio.to_thread(registry.move, "digits", "production", to=number, why="a benchmark")
        if number in GOOD:
            alias.moved(f"digits@{number}")
            while not any(one.version == f"digits@{number}" and one.sent > began for one in seen[-200:]):
                await asyncio.sleep(0.005)
                if time.monotonic() - began > LAG:
                    break
            took.append(time.monotonic() - began)
    return await asking, alias, took


def p99(seen: list[Seen]) -> float:
    return statistics.quantiles([one.over - one.sent for one in seen], n=100)[98] * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--fault", choices=["route", "drop"], default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        registry = publish_versions(Path(temporary, "store"))
        task = api.load("digits@1", store=registry.store).predictor.task
        pictures = [task.to_json(task.ask(row)) for row in task.sample(40)]
        asked = [task.from_json(picture) for picture in pictures]
        answers = {
            f"digits@{n}": dict(
                zip(pictures, api.load(f"digits@{n}", store=registry.store).predict(asked), strict=True)
            )
            for n in (1, 2, 4)
        }
        process, url = serve(registry.store, arguments.fault)
        try:
            texts = [pictures[k % len(pictures)] for k in range(arguments.requests)]
            steady = asyncio.run(drive(url, texts[: max(1000, arguments.requests // 10)]))
            seen, alias, took = asyncio.run(swap_under_load(registry, url, texts, arguments.swaps))
        finally:
            process.terminate()
            process.wait()

    def right(version: str, picture: str, answer: dict) -> bool:
        return task.distance(answers[version][picture], answer) < 0.01

    found = faults(seen, alias, right, LAG)
    found["not answered"] += arguments.requests - len(seen)
    found["not followed"] += sum(seconds > LAG for seconds in took)
    told = {
        "requests": len(seen), "moves": arguments.swaps, "faults": {k: n for k, n in found.items() if n},
        "swap_s": {"median": round(statistics.median(took), 3), "max": round(max(took), 3)},
        "p99_ms": {"steady": round(p99(steady), 1), "while_swapping": round(p99(seen), 1)},
        "answered_by": {v: sum(one.version == v for one in seen) for v in sorted({one.version for one in seen})},
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    return bool(told["faults"])


if __name__ == "__main__":
    sys.exit(main())
