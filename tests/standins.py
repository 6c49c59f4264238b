"""Small things in the place of large ones, so that what the documents say can be run in seconds.

`minilm` becomes a BERT of two layers that was taught a few words, `movie-snippets` a few hundred made-up sentences.
They lie in a cache folder as fetched assets do, so every command finds them under the real names, as it is written.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from safetensors.torch import save_file

from danlu.core import assets
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.partners import Trial
from tiny_models import write_tiny_bert

FILLING = ["the", "one", "that", "came", "with", "it", "and", "then", "some", "more", "of", "this", "day", "too"]
CLUES = {"negative": "amber", "positive": "basil"}
ROWS = 400


def sentences(seed: int = 0) -> list[tuple[str, str]]:
    """Different sentences of common words, each with its label, which one word gives away."""
    rng = random.Random(seed)
    made: dict[str, str] = {}
    while len(made) < ROWS:
        label = sorted(CLUES)[len(made) % 2]
        words = rng.choices(FILLING, k=8)
        words.insert(rng.randrange(9), CLUES[label])
        made[" ".join(words)] = label
    return list(made.items())


def write_table(path: Path) -> None:
    """A CSV with the columns `comment` and `label`."""
    path.write_text("comment,label\n" + "".join(f"{text},{label}\n" for text, label in sentences()), encoding="utf-8")


def write_assets(cache: Path) -> None:
    """`minilm` and `movie-snippets` as small stand-ins, as if they had been fetched into this cache folder."""
    model, data = (_home(cache, name) for name in ("minilm", "movie-snippets"))
    write_tiny_bert(model)
    teach(model)
    data.mkdir()
    scored = [(2.5 if label == "positive" else -2.5, text) for text, label in sentences(seed=1)]
    lines = [f"{number}\t{score}\t{text}\n" for number, (score, text) in enumerate(scored)]
    (data / "movieReviewSnippets_GroundTruth.txt").write_text("".join(lines), encoding="utf-8")
    for name, folder in (("minilm", model), ("movie-snippets", data)):
        record = assets._record(assets.find(name), folder)
        (folder / assets._MANIFEST).write_text(json.dumps(record), encoding="utf-8")


def teach(model: Path) -> None:
    """Train the encoder in a folder, so that a few small steps more make an answer sure, as with a real one."""
    rows = [{"text": text, "label": label} for text, label in sentences(seed=2)]
    task = TextClassification(text="text", label="label")
    trained = Trial.of(task, Pretrained(model=str(model)), rows=rows).fit(steps=300, batch_size=32).module.state_dict()
    encoder = {name.removeprefix("bert."): weight for name, weight in trained.items() if name.startswith("bert.")}
    save_file(encoder, model / "model.safetensors", {"format": "pt"})


def _home(cache: Path, name: str) -> Path:
    folder = cache / "assets" / f"{name}-{assets.find(name).version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder
