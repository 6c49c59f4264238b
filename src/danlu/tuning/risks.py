"""What may go wrong with a training, with what to do about it: told from its data and its cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from danlu.contracts import Task
from danlu.core import assets, machine
from danlu.core.combine import fitting
from danlu.core.resolve import Choice

_FEW, _UNEVEN, _LONG = 50, 10.0, 0.05
_SHARES = {
    "label": "accuracy", "labels": "accuracy", "span": "exact match", "preference": "preference accuracy",
    "ranking": "recall at 1",
}  # fmt: skip
"""Kind of answer → a metric of it that is a share of the rows, so that chance is known."""

Risk = dict[str, str]


def of(
    step: str, data: str, task: Task, facts: Mapping[str, Any], chosen: Choice | None, cost: Mapping[str, Any] | None
) -> list[Risk]:
    """What may go wrong when the training `step` learns from the data set of the step `data`."""
    found = [*_of_labels(step, facts), *_of_rows(data, task, facts)]
    if cost and cost["cut"] > _LONG:
        why = f"{cost['cut']:.0%} of the texts fill all positions of the model: their ends are not read"
        found.append(_risk("long texts", why, "cut them into pieces, or take a model with more positions"))
    if cost and cost.get("least_mb", 0) > (free := machine.available_memory() / 1e6):
        why = f"it wants {cost['least_mb']:,.0f} MB, and {free:,.0f} MB are free"
        found.append(_risk("memory", why, f"{step}.batch_size=4 {step}.accumulate=8, or a smaller backbone"))
    if why := _stranger(facts, chosen):
        do = "an encoder of that language: " if task.gives.get("head") != "next" else "a model of that language: "
        found.append(_risk("language", why, f"{do}{step}.backbone='{{pretrained: ./its-folder}}'"))
    if simple := [entry.name for entry in fitting("backbones", task.gives) if _counts(entry.gives)]:
        told = "TF-IDF" if "tfidf_lr" in simple or "tfidf_ridge" in simple else " or ".join(simple)
        why = f"a larger model often does not beat {told} on few rows"
        found.append(_risk("no baseline beaten", why, "danlu run measures both"))
    return found


def _risk(what: str, why: str, do: str) -> Risk:
    return {"what": what, "why": why, "do": do}


def _counts(gives: Mapping[str, str]) -> bool:
    return gives.get("learning", "descent") != "descent"


def _of_labels(step: str, facts: Mapping[str, Any]) -> Iterator[Risk]:
    labels = facts["labels"]
    if not labels:
        return
    least, most = min(labels.values()), max(labels.values())
    if least < _FEW:
        rare = min(labels, key=lambda name: labels[name])
        why = f"with fewer than {_FEW} a label, results differ much from seed to seed"
        yield _risk(f"{least} rows of the label {rare}", why, "label more rows, or run seeds")
    if most >= _UNEVEN * max(1, least):
        do = f"{step}.techniques=[class_weights] score.metrics=[f1]"
        yield _risk("uneven labels", f"the commonest has {most / max(1, least):.0f} times the rows of the rarest", do)


def _of_rows(data: str, task: Task, facts: Mapping[str, Any]) -> Iterator[Risk]:
    if facts["unlabelled_rows"]:
        why = "a row without a label can't be learnt from or judged by"
        do = "label them (danlu data label), leave them out, or fill them in with the operator pseudo_labels"
        yield _risk(f"{facts['unlabelled_rows']:,} rows without a label", why, do)
    share = _SHARES.get(task.gives.get("answer", ""))
    if facts["validation_rows"] and share:
        half = 100 * 1.96 * math.sqrt(0.25 / facts["validation_rows"])
        if half > 3:
            why = f"differences below about {half:.0f} points of {share} are chance on them"
            what, do = f"{facts['validation_rows']} validation rows", f"{data}.split='{{validation: 0.2, test: 0.2}}'"
            yield _risk(what, why, do)


def _stranger(facts: Mapping[str, Any], chosen: Choice | None) -> str:
    """Why the model is a stranger to the language of the texts; empty where nothing says so."""
    if facts["language"] == "other":
        return str(facts["language_why"])
    model = str(chosen.settings.get("model", "")) if chosen else ""
    if not facts["language"] or not model.startswith("asset:"):
        return ""
    knows = assets.find(model.removeprefix("asset:")).language
    return "" if not knows or facts["language"] in knows else f"the model knows {knows}, and {facts['language_why']}"
