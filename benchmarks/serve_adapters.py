"""Memory of several adapters in one process: on one backbone held once, and each with its own.

    python benchmarks/serve_adapters.py                          minilm, 1 and 8 LoRA adapters
    python benchmarks/serve_adapters.py --adapters 1 16
    python benchmarks/serve_adapters.py --merged                 milliseconds an input, beside the merged weights

The adapters are random: what they weigh does not depend on what they learnt. Each measurement is a process of its own,
which loads the models, asks each of them once, and tells the bytes that are its own alone (`Private_*` in
/proc/self/smaps_rollup, so Linux only). Prints JSON lines, and the MB that one adapter more costs. Milliseconds are
processor time of one thread, the least of several rounds in turns; sizes are those on the disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from danlu import bundle
from danlu.blocks import merging
from danlu.blocks.shared_weights import SharedWeights
from danlu.contracts import Backbone, Method, Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, nargs=2, default=[1, 8])
    parser.add_argument("--backbone", type=json.loads, default={"pretrained": "asset:minilm"})
    parser.add_argument("--merged", action="store_true")
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(measured([Path(folder) for folder in given.measure[1:]], given.measure[0] == "shared"))
        return
    with tempfile.TemporaryDirectory() as place:
        if given.merged:
            print(json.dumps(beside_merged(made(Path(place) / "adapter", given.backbone, 0), Path(place) / "merged")))
            return
        folders = [made(Path(place) / f"a{k}", given.backbone, k) for k in range(max(given.adapters))]
        for how in ("shared", "alone"):
            found = {count: run(how, folders[:count]) for count in given.adapters}
            few, many = given.adapters
            told = {"backbone": how, "mb": found, "mb_per_adapter": round((found[many] - found[few]) / (many - few), 1)}
            print(json.dumps(told), flush=True)


def made(folder: Path, backbone: dict[str, str], seed: int) -> Path:
    """A model whose LoRA is random."""
    chosen, task = Backbone.choose(backbone), Task.choose({"text_classification": {"labels": ["bad", "good"]}})
    torch.manual_seed(seed)
    processor = chosen.processor(chosen.folder())
    module, fresh = chosen.start(task.head(), processor)
    method = Method.choose("lora").resolve(fresh)
    module = method.wrap(module)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight += 0.01 * torch.randn_like(weight)
    bundle.save(folder, backbone=chosen, task=task, processor=processor, module=module, parts=(method,))
    return folder


def beside_merged(adapter: Path, place: Path, rounds: int = 15) -> dict[str, dict[str, float]]:
    """Of an adapter over its backbone, and of the merged weights: ms an input, one by one and 32 at once, and MB."""
    torch.set_num_threads(1)
    models = {"adapter": bundle.load(adapter), "merged": bundle.load(merging.plain(adapter, place))}
    found: dict[str, dict[str, float]] = {name: {} for name in models}
    texts = [" ".join(["a few words of a review"] * 5)] * 32
    for size in (1, 32):
        for _ in range(rounds):
            for name, model in models.items():
                begun = time.process_time()
                model(texts[:size])
                spent = 1000 * (time.process_time() - begun) / size
                found[name][f"ms_{size}"] = round(min(spent, found[name].get(f"ms_{size}", spent)), 3)
    for name, folder in (("adapter", adapter), ("merged", place)):
        files = {path.name: round(path.stat().st_size / 1e6, 2) for path in folder.glob("*.safetensors")}
        found[name] |= files
    return found


def run(how: str, folders: list[Path]) -> float:
    command = [sys.executable, __file__, "--measure", how, *map(str, folders)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measured(folders: list[Path], shared: bool) -> float:
    """Megabytes (10⁶ bytes) of this process's own memory, with the models loaded and asked."""
    held = SharedWeights() if shared else None
    models = [bundle.load(folder, shared=held) for folder in folders]
    for model in models:
        model(["one sentence"])
    lines = Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6, 1)


if __name__ == "__main__":
    main()
