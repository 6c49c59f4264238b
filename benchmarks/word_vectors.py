"""Whether word vectors learn something real, and how fast: word2vec (skip-gram, CBOW) and GloVe.

    python benchmarks/word_vectors.py [--text FILE…] [--asset NAME…] [--seeds 3] [--rounds 3]

`--text` are files of paragraphs with an empty line between them, `--asset` data sets with a column of texts. Prints one
JSON document:

- `rank`: `cooccurrence_rank` on a tenth of the paragraphs that was held out, and the same after learning from the same
  words in random order (`control`); 0.5 is guessing.
- `neighbours`: of the ten nearest of each of the 101st to 400th commonest word, the share that is among the ten nearest
  again in vectors learnt from the other half of the text, without a paragraph in common; beside the control's.
- `seconds`: CPU seconds of teaching, Danlu's against a plain gensim script on the same words, the least of the rounds;
  for GloVe the pairs that one core updates in a second.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.blocks import gensim, glove
from danlu.plugins.backbones.glove import Glove
from danlu.plugins.backbones.word2vec import Word2Vec
from danlu.plugins.metrics.cooccurrence_rank import CooccurrenceRank
from danlu.plugins.sources.asset import Asset
from danlu.plugins.tasks.word_vectors import WordVectors
from danlu.testing.partners import Trial

TASK = WordVectors(text="text", nearest=10)
BACKBONES = {"skip_gram": Word2Vec(), "cbow": Word2Vec(architecture="cbow"), "glove": Glove()}
ASKED = slice(100, 400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, nargs="*", default=[])
    parser.add_argument("--asset", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    texts = [part for file in given.text for part in file.read_text("utf-8").split("\n\n") if part.strip()]
    for name in given.asset:
        texts += [row["text"] for batch in Asset(asset=name).rows() for row in batch.to_pylist()]
    held = np.random.default_rng(0).random(len(texts)) < 0.1
    train, test = ([text for text, out in zip(texts, held, strict=True) if out == side] for side in (False, True))
    figures: dict[str, Any] = {"paragraphs": len(texts), "models": {}}
    for name, backbone in BACKBONES.items():
        figures["models"][name] = told = learnt(backbone, train, test, given.seeds)
        sys.stderr.write(f"{name}: {json.dumps(told)}\n")
    figures["seconds"] = seconds(train, given.rounds)
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


def seconds(train: list[str], rounds: int) -> dict[str, Any]:
    """What teaching takes, the sides in turn."""
    told: dict[str, Any] = {}
    for name in ("skip_gram", "cbow"):
        backbone = BACKBONES[name]
        trial = Trial.of(TASK, backbone, rows=[{"text": text} for text in train])
        examples = [e for row in trial.rows for e in TASK.examples(row, trial.processor)]
        batch = TASK.collate(examples, trial.processor).map(torch.from_numpy)
        sentences = [[trial.processor.names[k] for k in e.inputs["text"]] for e in examples]
        sides: dict[str, Callable[[], object]] = {
            "danlu": functools.partial(trial.module.update, batch),  # type: ignore[arg-type]
            "gensim": functools.partial(plain, backbone, sentences),
        }
        taken = {side: min(cpu(work) for _ in range(rounds)) for side, work in sides.items()}
        told[name] = {**taken, "ratio": round(taken["danlu"] / taken["gensim"], 3)}
    text = batch.inputs["text"].numpy()
    counts = glove.count(text, len(trial.processor), Glove().window)
    how = {option: getattr(Glove(), option) for option in ("size", "rate", "most", "power")}
    taken = min(cpu(lambda: glove.learn(counts, seed=0, passes=2, **how)) for _ in range(rounds))
    told["glove"] = {"pairs": counts.nnz, "updates_per_s": round(2 * counts.nnz / taken)}
    return told


def plain(backbone: Any, sentences: list[list[str]]) -> None:
    """What a person writes with gensim alone."""
    gensim.models.Word2Vec(
        sentences, sg=int(backbone.architecture == "skip_gram"), vector_size=backbone.size, window=backbone.window,
        negative=backbone.negative, sample=backbone.subsample, epochs=backbone.passes, workers=1, min_count=5,
    )  # fmt: skip


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return round(time.process_time() - began, 2)


if __name__ == "__main__":
    main()
