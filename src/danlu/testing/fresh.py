"""What tokenizers and initialisers promise: the same from the same texts and from the same seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.testing.subject import Subject, check, require

_MOST = 24
_TEXTS = tuple(
    f"{a} {b} is {c} than 好的{d}!"
    for a in ("The", "A", "One")
    for b in ("baker", "bread", "basin", "barn")
    for c in ("older", "colder", "bolder")
    for d in "面包房子"
)
_ODD = ("", " ", "\x00", "ŷ̴̢ 🜂 zqxv", "字" * 3000, "word " * 3000, *_TEXTS[:8])
_LEARN = """
import json, pathlib, sys
from danlu.core import plugin
from danlu.blocks.special_tokens import BERT
told = json.loads(sys.argv[1])
if told["file"]:
    plugin.add_file(pathlib.Path(told["file"]))
chosen = plugin.load("tokenizers", told["name"])(**told["options"])
chosen.learn(told["texts"], BERT, told["most"]).save(pathlib.Path(told["folder"]))
"""

# ---- tokenizers ------------------------------------------------------------------------------------------------------


def _once() -> Iterator[str]:
    yield from _TEXTS


@check("tokenizers")
def check_every_process_learns_the_same(subject: Subject) -> None:
    """The same texts give the same files in other processes, whatever their hash seed and number of threads."""
    files = [_learnt_elsewhere(subject, threads) for threads in ("1", "3")]
    require(bool(files[0]), "save() writes no file")
    require(files[0] == files[1], "the same texts give another file in another process")


def _learnt_elsewhere(subject: Subject, threads: str) -> dict[str, bytes]:
    folder, kind = subject.new(f"threads{threads}"), type(subject.plugin)
    folder.mkdir()
    file = "" if "." in kind.__module__ else sys.modules[kind.__module__].__file__
    name = subject.plugin.name if file else f"{kind.__module__}:{kind.__qualname__}"
    (options,) = subject.plugin.plain().values()
    told = {"name": name, "file": file, "options": options, "texts": _TEXTS, "most": _MOST, "folder": str(folder)}
    paths = os.pathsep.join(filter(None, sys.path))
    env = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": threads, "RAYON_NUM_THREADS": threads}
    ran = subprocess.run(
        [sys.executable, "-c", _LEARN, json.dumps(told)], capture_output=True, text=True, check=False, env=env
    )
    require(ran.returncode == 0, f"it can't learn in a process of its own: {ran.stderr.strip()[-300:]}")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@check("tokenizers")
def check_any_text_fits_the_model(subject: Subject) -> None:
    """Texts are gone through once; then any text gives ids that there are, no more than the model takes, and a pad."""
    found: Any = subject.plugin.learn(_once(), BERT, _MOST)
    require(found.special("pad_token") is not None, "it has no token to pad with")
    for text in _ODD:
        ids = found.inputs(text)["input_ids"]
        require(1 <= len(ids) <= _MOST, f"{text[:12]!r} gives {len(ids)} tokens, the model takes 1 to {_MOST}")
        require(int(ids.max()) < found.size, f"{text[:12]!r} gives an id that there is not")


@check("tokenizers")
def check_the_files_are_the_tokenizer(subject: Subject) -> None:
    """Saved and loaded by the library's own file, it cuts every text into the same tokens."""
    found: Any = subject.plugin.learn(_once(), BERT, _MOST)
    folder = subject.new("saved")
    folder.mkdir()
    found.save(folder)
    loaded = TextProcessor.load(Path(folder))
    for text in _ODD:
        same = np.array_equal(found.inputs(text)["input_ids"], loaded.inputs(text)["input_ids"])
        require(same, f"{text[:12]!r} gives other tokens after saving and loading")


# ---- initialisers ----------------------------------------------------------------------------------------------------


def _drawn(subject: Subject, seed: int, *scale: float) -> torch.Tensor:
    torch.manual_seed(seed)
    weight = torch.full((48, 64), 7.0)
    subject.plugin.fill(weight, *scale)
    return weight


@check("initialisers")
def check_the_seed_decides(subject: Subject) -> None:
    """The same seed of torch's generator draws the same weights, another one others; no weight is left as it was."""
    first, again, other = (_drawn(subject, seed) for seed in (0, 0, 1))
    require(torch.equal(first, again), "the same seed draws other weights the second time")
    require(not torch.equal(first, other), "another seed draws the same weights")
    require(bool(torch.isfinite(first).all()), "it draws what is no number")
    require(bool((first != 7.0).all()), "it leaves weights as they were")


@check("initialisers")
def check_the_scale_counts(subject: Subject) -> None:
    """Half the scale draws the same weights, half as large."""
    whole, half = _drawn(subject, 0), _drawn(subject, 0, 0.5)
    require(torch.allclose(half, whole / 2, atol=1e-6), "half the scale draws other weights than half of them")
