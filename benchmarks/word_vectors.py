"""Whether word vectors learn something real, and how fast: word2vec (skip-gram, CBOW) and GloVe.

    python benchmarks/word_vectors.py [--text FILE…] [--asset NAME…] [--only NAME…] [--seeds 3] [--rounds 2]

`--text` are files, `--asset` data sets with a column of texts, by default Shakespeare's plays and four sets of
snippets; both are cut into paragraphs at empty lines. Prints one JSON document:

- `rank`: `cooccurrence_rank` on a tenth of the paragraphs that was held out, and the same after learning from the same
  words in random order (`control`); 0.5 is guessing.
- `neighbours`: of the ten nearest of each of the 101st to 400th commonest word, the share that is among the ten nearest
  again in vectors learnt from the other half of the text, without a paragraph in common; beside the control's.
- `seconds`: from texts to a file of vectors by Danlu (its list of words, its loop, the model's folder) and by a plain
  gensim script, one after the other, then the other way round; the least of the rounds, of the processor (`cpu`) and on
  the clock (`wall`), and Danlu's as a multiple. For GloVe the pairs that one core updates in a second, and the whole.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.blocks import gensim, glove, word2vec_format
from danlu.plugins.backbones.glove import Glove
from danlu.plugins.backbones.word2vec import Word2Vec
from danlu.plugins.metrics.cooccurrence_rank import CooccurrenceRank
from danlu.plugins.sources.asset import Asset
from danlu.plugins.tasks.word_vectors import WordVectors
from danlu.testing.partners import Trial

TASK = WordVectors(text="text", nearest=10)
BACKBONES = {"skip_gram": Word2Vec(), "cbow": Word2Vec(architecture="cbow"), "glove": Glove()}
ASSETS = ["shakespeare", "movie-snippets", "amazon-snippets", "editorial-snippets", "tweet-snippets"]
ASKED = slice(100, 400)
WORD = re.compile(r"\w+(?:['’]\w+)*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, nargs="*", default=[])
    parser.add_argument("--asset", nargs="*", default=ASSETS)
    parser.add_argument("--only", nargs="*", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    texts = [file.read_text("utf-8") for file in given.text]
    texts += [row["text"] for name in given.asset for batch in Asset(asset=name).rows() for row in batch.to_pylist()]
    texts = [part for text in texts for part in text.split("\n\n") if part.strip()]
    held = np.random.default_rng(0).random(len(texts)) < 0.1
    train, test = ([text for text, out in zip(texts, held, strict=True) if out == side] for side in (False, True))
    figures: dict[str, Any] = {"paragraphs": len(texts), "models": {}}
    for name in given.only if given.seeds else []:
        figures["models"][name] = told = learnt(BACKBONES[name], train, test, given.seeds)
        sys.stderr.write(f"{name}: {json.dumps(told)}\n")
    figures["seconds"] = seconds(given.only if given.rounds else [], train, given.rounds)
    json.dump(figures, sys.stdout, indent=1)
    sys.stdout.write("\n")


def learnt(backbone: Any, train: list[str], test: list[str], seeds: int) -> dict[str, Any]:
    """Held-out ranking and neighbours found again, in each seed, real and control."""
    told: dict[str, Any] = {"rank": [], "rank_control": [], "neighbours": [], "neighbours_control": []}
    for seed in range(seeds):
        for texts, ending in ((train, ""), (shuffled(train, seed), "_control")):
            told[f"rank{ending}"].append(round(rank(taught(backbone, texts, seed), test), 4))
            half = np.random.default_rng(seed).random(len(texts)) < 0.5
            sides = [[t for t, h in zip(texts, half, strict=True) if h == side] for side in (False, True)]
            near = [nearest(taught(backbone, side, seed)) for side in sides]
            told[f"neighbours{ending}"].append(round(again(*near), 4))
    return told


def taught(backbone: Any, texts: list[str], seed: int) -> Trial:
    torch.manual_seed(seed)
    return Trial.of(TASK, backbone, rows=[{"text": text} for text in texts], seed=seed).fit()


def shuffled(texts: list[str], seed: int) -> list[str]:
    lengths = [len(text.split()) for text in texts]
    words = np.random.default_rng(seed).permutation(" ".join(texts).split())
    return [" ".join(part) for part in np.split(words, np.cumsum(lengths)[:-1])]


def rank(trial: Trial, test: list[str]) -> float:
    rows, metric = [{"text": text} for text in test], CooccurrenceRank()
    gold = [TASK.gold(row) for row in rows]
    return metric.value(metric.read(trial.predictor()([TASK.ask(row) for row in rows]), gold), np.ones(len(rows)))


def nearest(trial: Trial) -> dict[str, set[str]]:
    asked = trial.processor.names[ASKED]
    answers = trial.predictor()([{"word": word} for word in asked])
    return {word: {near["word"] for near in told["nearest"]} for word, told in zip(asked, answers, strict=True)}


def again(one: dict[str, set[str]], other: dict[str, set[str]]) -> float:
    return float(np.mean([len(one[word] & other[word]) / 10 for word in one.keys() & other.keys()]))


def seconds(names: Iterable[str], texts: list[str], rounds: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in names:
        sides = {"danlu": functools.partial(ours, BACKBONES[name], texts)}
        if name != "glove":
            sides["gensim"] = functools.partial(plain, BACKBONES[name], texts)
        taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for k in range(rounds):
            for side in list(sides)[:: 1 if k % 2 == 0 else -1]:
                taken[side].append(clocks(sides[side]))
        told[name] = {
            side: dict(zip(("cpu", "wall"), map(min, zip(*of, strict=True)), strict=True)) for side, of in taken.items()
        }
        if "gensim" in told[name]:
            told[name]["ratio"] = {
                key: round(told[name]["danlu"][key] / of, 3) for key, of in told[name]["gensim"].items()
            }
    if "glove" in told:
        told["glove"] |= updates(texts)
    return told


def ours(backbone: Any, texts: list[str]) -> None:
    trial = taught(backbone, texts, 0)
    with tempfile.TemporaryDirectory() as folder:
        trial.save(Path(folder, "model"))
        vectors = trial.module.get_buffer("vectors").numpy()
        Path(folder, "vectors.bin").write_bytes(word2vec_format.encoded(trial.processor.names, vectors, binary=True))


def plain(backbone: Any, texts: list[str]) -> None:
    """What a person writes with gensim alone."""
    sentences = [WORD.findall(text.lower()) for text in texts]
    model = gensim.models.Word2Vec(
        sentences, sg=int(backbone.architecture == "skip_gram"), vector_size=backbone.size, window=backbone.window,
        negative=backbone.negative, sample=backbone.subsample, epochs=backbone.passes, workers=1, min_count=5,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model.wv.save_word2vec_format(str(Path(folder, "vectors.bin")), binary=True)


def updates(texts: list[str]) -> dict[str, Any]:
    """How many counted pairs there are, and how many GloVe learns from in a second of one core."""
    trial = Trial.of(TASK, Glove(), rows=[{"text": text} for text in texts])
    ids = TASK.collate([e for row in trial.rows for e in TASK.examples(row, trial.processor)], trial.processor)
    counts = glove.count(ids.inputs["text"], len(trial.processor), Glove().window)
    how = {option: getattr(Glove(), option) for option in ("size", "rate", "most", "power")}
    cpu, _ = clocks(lambda: glove.learn(counts, seed=0, passes=2, **how))
    return {"pairs": counts.nnz, "updates_per_s": round(2 * counts.nnz / cpu)}


def clocks(work: Callable[[], object]) -> tuple[float, float]:
    began = time.process_time(), time.perf_counter()
    work()
    return round(time.process_time() - began[0], 2), round(time.perf_counter() - began[1], 2)


if __name__ == "__main__":
    main()
