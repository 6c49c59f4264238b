"""Trainings that differ in nothing but their seed, told as one: what of a difference is chance of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.blocks.intervals import Score, interval
from danlu.core.canonical import to_json


def groups(manifests: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The names of models in groups of the same stage, settings and inputs but for the seed; each seed once.

    A model whose training is not known, or has a seed that the group has already, is a group of its own.
    """
    found: list[list[str]] = []
    by_key: dict[str, list[str]] = {}
    for name, manifest in manifests.items():
        key = _but_for_the_seed(manifest)
        same = by_key.get(key, [])
        if key and same and seed_of(manifest) not in {seed_of(manifests[other]) for other in same}:
            same.append(name)
            continue
        found.append([name])
        by_key.setdefault(key, found[-1])
    return found


def seed_of(manifest: Mapping[str, Any]) -> Any:
    """The seed of a training, None where it is not known."""
    return manifest["settings"].get("seed")


def _but_for_the_seed(manifest: Mapping[str, Any]) -> str:
    settings = {name: value for name, value in manifest["settings"].items() if name != "seed"}
    if not settings or seed_of(manifest) is None:
        return ""
    inputs = {name: told["digest"] for name, told in manifest.get("inputs", {}).items()}
    return to_json({"stage": manifest.get("stage"), "settings": settings, "inputs": inputs}).decode()


def mean(scores: Sequence[Score], rows: int) -> Score:
    """The mean of scores on the same rows, of the same draws: its interval is that of the mean over other rows."""
    values = [score.value for score in scores if score.value is not None]
    if len(values) < len(scores):
        return Score(None, None, None)
    value, draws = float(np.mean(values)), np.mean([score.draws for score in scores], axis=0)
    return Score(value, *interval(draws, value, rows), {}, draws)
