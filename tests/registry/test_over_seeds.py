"""Trainings that differ in their seed alone are told as one."""

import numpy as np
import pytest

import danlu
from danlu.blocks.intervals import Score
from danlu.blocks.report.compare_page import compare_page
from danlu.core.events import Events
from danlu.registry import over_seeds, side_by_side


def manifest(seed, data="d", **settings):
    return {"stage": "finetune", "settings": {"seed": seed, **settings}, "inputs": {"dataset": {"digest": data}}}


def test_what_belongs_together():
    known = {
        "a": manifest(0, lr=1),
        "other rate": manifest(1, lr=2),
        "a1": manifest(1, lr=1),
        "other data": manifest(2, data="e", lr=1),
        "a again": manifest(1, lr=1),
        "unknown": {"settings": {}},
        "unknown too": {"settings": {}},
        "evaluated": manifest(3, lr=1) | {"stage": "pretrain"},
    }
    assert over_seeds.groups(known) == [
        ["a", "a1"], ["other rate"], ["other data"], ["a again"], ["unknown"], ["unknown too"], ["evaluated"],
    ]  # fmt: skip


def test_the_mean_and_its_interval():
    draws = [np.linspace(0.4, 0.6, 1000), np.linspace(0.6, 0.8, 1000)]
    mean = over_seeds.mean([Score(0.5, 0.4, 0.6, {}, draws[0]), Score(0.7, 0.6, 0.8, {}, draws[1])], 50)
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.6, 0.505, 0.695))
    assert over_seeds.mean([Score(0.5, 0.4, 0.6, {}, draws[0]), Score(None, None, None)], 50).value is None


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    steps = {"data": {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 300}}}}
    steps["data"]["task"] = "text_classification"
    for name, more in {"plain": {}, "plain1": {"seed": 1}, "words": {"backbone": "tfidf_lr"}}.items():
        steps[name] = {"do": "finetune", "backbone": "text_mlp", "steps": 12, **more}
    steps["words"].pop("steps")
    run = danlu.run({"name": "x", "steps": steps}, store=tmp_path_factory.mktemp("s") / "s", trackers=[])
    found = side_by_side.of_steps(run.artifacts, [], run.store)
    return side_by_side.compare(found, split="test", against="words", latency=False, seed=0, events=Events.silent())


def test_models_are_told_one_by_one_and_over_seeds(told):
    alone = {one["name"]: one["metrics"]["accuracy"]["value"] for one in told["models"]}
    plain, words = told["seeds"]
    assert (plain["models"], plain["seeds"]) == (["plain", "plain1"], [0, 1])
    assert plain["values"]["accuracy"] == [alone["plain"], alone["plain1"]]
    mean = (alone["plain"] + alone["plain1"]) / 2
    assert plain["metrics"]["accuracy"]["value"] == pytest.approx(mean)
    assert plain["differences"]["accuracy"]["value"] == pytest.approx(mean - alone["words"])
    assert words["models"] == ["words"]


def test_the_page_has_them(told):
    assert "plain, plain1" in compare_page(told)
    assert "Over seeds" not in compare_page({**told, "seeds": []})
