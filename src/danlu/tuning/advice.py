"""Which backbone, which method, how long, and what may go wrong: told from the data and this machine, without training.

The rules are stated in docs/tuning.md with their sources. Time comes from one forward pass of the backbone, timed on
this machine; a training step is three of them (backward takes about twice as long as forward; Kaplan et al., 2020).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from danlu import draft, recipe
from danlu.blocks import memory
from danlu.blocks.dataset import label_counts
from danlu.blocks.language import detect_language
from danlu.blocks.spread import spread
from danlu.blocks.tensors import to_torch
from danlu.contracts import Example, Task, iterate_rows
from danlu.core import assets, document, machine
from danlu.core.canonical import plain
from danlu.core.combine import fitting
from danlu.core.errors import DataError, RecipeError
from danlu.core.plan import Step
from danlu.core.resolve import Choice, Versions, resolve
from danlu.training.dry import spoken
from danlu.training.job import lengths
from danlu.tuning.space import label

_MOST, _SAMPLE, _PROBED = 20_000, 300, 8
_FEW, _UNEVEN, _LONG, _SLOW = 50, 10.0, 0.05, 30 * 60
_FULL = 64
"""Tokens below which the longest text is not taken for one that was cut."""
_FROZEN = 2 / 3
"""Of a training step what is left where the backbone's own weights get no gradient (forward, and back through it)."""
_OPTIMIZER = 8
"""Bytes of AdamW's state for a weight that moves: two float32 moments."""
_TABLES = (".csv", ".tsv", ".txt")


def advise(
    source: Path | str | Mapping[str, Any], overrides: Sequence[str] = (), versions: Versions | None = None
) -> dict[str, Any]:
    """Advice on a recipe, or on a CSV or TSV file, in JSON values; nothing is trained or written.

    `{name, data, machine, advice: [{about, choice, why, override}], risks: [{what, why, do}]}`. Raises RecipeError for
    a recipe that trains nothing, DataError for rows that can't be read.
    """
    drafted = isinstance(source, str | Path) and Path(source).suffix.lower() in _TABLES
    checked = recipe.load(_drafted(Path(str(source))) if drafted else source, overrides, versions=versions)
    training = [step for step in checked.steps if step.stage.name == "finetune"]
    if not training:
        raise RecipeError("it has no step that trains", where=str(checked.path or "recipe"), do="add {do: finetune}")
    step = training[-1]
    data = next(one for one in checked.steps if one.name == step.inputs["dataset"])
    task, table, total, shares = _read(data.stage.make(data.name))
    facts = _facts(task, table, total, shares)
    told, chosen = _backbone(step, task, facts)
    cost = _cost(chosen, task, table, step, facts) if chosen else None
    found: dict[str, Any] = plain(
        {
            "name": checked.name,
            "data": facts,
            "machine": {"threads": machine.cpu_threads(), "memory_free_mb": round(machine.available_memory() / 1e6)},
            "advice": [told, *(_choices(step.name, cost) if cost else ())],
            "risks": _risks(step.name, facts, cost),
        }
    )
    return found


def _drafted(data: Path) -> dict[str, Any]:
    """The recipe that `danlu new` would write, without writing it."""
    made = draft.draft(data, Path.cwd() / ".danlu-advise.yaml")
    found: dict[str, Any] = document.parse(made.text, str(data))
    return found


# ---- what the data is ------------------------------------------------------------------------------------------------


def _read(prepare: Any) -> tuple[Task, pa.Table, int, dict[str, float]]:
    """The task with its labels, rows spread over the data, how many there are, and the shares of the splits."""
    splits = prepare.source.splits()
    batches = prepare.source.rows("train") if "train" in splits else prepare.source.rows()
    table, _, total = spread(batches, _MOST)
    if table is None or not total:
        raise DataError("there are no rows", where=prepare.source.name, do="name a file that has some")
    task = prepare.task.settle(table)
    task = task.resolve(table)
    held = 0.0 if splits else prepare.split.validation + prepare.split.test
    shares = {"train": 1 - held, "validation": prepare.split.validation}
    return task, table, total, shares


def _facts(task: Task, table: pa.Table, total: int, shares: Mapping[str, float]) -> dict[str, Any]:
    scale, counts = total / table.num_rows, label_counts([table], task)
    texts = [text for text in map(task.ask, iterate_rows(table.slice(0, _SAMPLE))) if isinstance(text, str)]
    language = detect_language(texts) if texts else None
    return {
        "rows": total,
        "train_rows": round(total * shares["train"]),
        "validation_rows": round(total * shares["validation"]),
        "task": task.name,
        "labels": {label: round(count * scale) for label, count in counts.items()},
        "language": language.code if language else "",
        "language_why": language.reason if language else "",
    }


# ---- the choices -----------------------------------------------------------------------------------------------------


def _told(about: str, choice: str, why: str, override: str = "") -> dict[str, str]:
    return {"about": about, "choice": choice, "why": why, "override": override}


def _backbone(step: Step, task: Task, facts: Mapping[str, Any]) -> tuple[dict[str, str], Choice | None]:
    """The backbone and why; the choice itself where it learns by descent, so that its cost can be measured."""
    own = step.stage.settings["backbone"]
    fits = {entry.name for entry in fitting("backbones", task.gives)}
    if own is None:
        return _told("backbone", "the model of another step", "the recipe starts from it"), None
    default = own.plain() == {"pretrained": {"model": "asset:minilm", "dropout": None}}
    learns = own if own.entry.gives.get("learning") == "descent" else None
    if facts["language"] in ("", "en") and default and not assets.is_here(assets.find("minilm")):
        return _told(
            "backbone", "minilm", "an English encoder, not on this machine yet", "danlu assets get minilm"
        ), None
    if default and facts["language"] not in ("", "en") and "tfidf_lr" in fits:
        why = f"minilm knows English only, and {facts['language_why']}"
        return _told("backbone", "tfidf_lr", why, f"{step.name}={{do: finetune, backbone: tfidf_lr}}"), None
    if learns is None and "pretrained" in fits and facts["language"] == "en":
        why = f"{facts['language_why']}; {own.name} stays the baseline to beat"
        there = assets.is_here(assets.find("minilm"))
        chosen = resolve("backbones", {"pretrained": "asset:minilm"}, "backbone", []) if there else None
        return _told(
            "backbone", "pretrained minilm", why, f"{step.name}.backbone='{{pretrained: \"asset:minilm\"}}'"
        ), chosen
    return _told("backbone", label(own.plain()), "the recipe's own; nothing in the data speaks against it"), learns


def _cost(chosen: Choice, task: Task, table: pa.Table, step: Step, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds and megabytes of the training with all weights, and with a small part of them; see the module."""
    backbone = chosen.make("backbone")
    rows = list(iterate_rows(table.slice(0, _SAMPLE)))
    folder = backbone.folder()
    processor = backbone.processor(folder) if folder else backbone.learn(map(task.material, rows))
    examples = [example for row in rows for example in task.examples(row, processor)]
    module, _ = backbone.start(task.head(), processor)
    module.eval()
    long = lengths(examples, processor)
    order = np.argsort(long)
    middle = [examples[k] for k in order[len(order) // 2 :][:_PROBED]]
    forward = _forward(module, task, middle, processor) / len(middle)
    longest = to_torch(task.collate([examples[k] for k in order[-2:]], processor), torch.device("cpu"))
    kept = memory.kept_bytes(lambda: task.forward(module, longest), module) / min(2, len(examples))
    own, weights = step.stage.settings, sum(w.numel() for w in module.parameters())
    size = 32 if own["batch_size"] == "auto" else own["batch_size"]
    epochs = own["epochs"] or (None if own["steps"] else 2.0)
    update = size * own["accumulate"]
    wanted = [facts["train_rows"] * epochs] if epochs else []
    seen = min([*wanted, own["steps"] * update] if own["steps"] else wanted)
    seconds = 3 * forward * seen
    whole = weights * (4 + 4 + _OPTIMIZER) + kept * size
    return {
        "pretrained": folder is not None,
        "weights": weights,
        "longer": " ".join(
            [f"{step.name}.epochs=null"] * bool(own["epochs"]) + [f"{step.name}.steps={draft.MIN_UPDATES}"]
        ),
        "updates": math.ceil(seen / update),
        "seconds": {"full": seconds, "lora": seconds * _FROZEN},
        "memory_mb": {"full": whole / 1e6, "lora": (weights * 4 + kept * size) / 1e6},
        "cut": float(np.mean(long == long.max()))
        if len(long) and long.max() > long.min() and long.max() >= _FULL
        else 0.0,
    }


def _forward(module: nn.Module, task: Task, examples: Sequence[Example], processor: Any) -> float:
    """Seconds of a forward pass of the examples, the best of three."""
    batch = to_torch(task.collate(examples, processor), torch.device("cpu"))
    times = []
    with torch.no_grad():
        for _ in range(4):
            began = time.perf_counter()
            task.forward(module, batch)
            times.append(time.perf_counter() - began)
    return min(times[1:])


def _choices(step: str, cost: Mapping[str, Any]) -> list[dict[str, str]]:
    """Method, length, memory and time, with their reasons."""
    free = machine.available_memory() / 1e6
    small = cost["pretrained"] and (cost["memory_mb"]["full"] > free or cost["seconds"]["full"] > _SLOW)
    method = "lora" if small else "full"
    time_of, memory_of = cost["seconds"][method], cost["memory_mb"][method]
    why = (
        f"all weights would take {spoken(cost['seconds']['full'])} and {cost['memory_mb']['full']:,.0f} MB"
        if small
        else f"it fits: {memory_of:,.0f} of {free:,.0f} MB free, {spoken(time_of)}"
    )
    said = [_told("method", method, why, f"{step}.method={method}")]
    if cost["pretrained"] and cost["updates"] < draft.MIN_UPDATES:
        few = f"{cost['updates']:,} updates leave a small encoder half-tuned"
        said.append(_told("length", f"{draft.MIN_UPDATES} steps", few, cost["longer"]))
    return [
        *said,
        _told(
            "time", spoken(time_of), "three forward passes a row, timed on this machine just now; within a factor of 2"
        ),
        _told("memory", f"{memory_of:,.0f} MB", "weights, gradients, AdamW's moments, activations of the longest rows"),
    ]


# ---- the risks -------------------------------------------------------------------------------------------------------


def _risks(step: str, facts: Mapping[str, Any], cost: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """What may go wrong, with what to do about it."""
    found = []

    def risk(what: str, why: str, do: str) -> None:
        found.append({"what": what, "why": why, "do": do})

    labels = facts["labels"]
    least, most = (min(labels.values()), max(labels.values())) if labels else (0, 0)
    if labels and least < _FEW:
        rare = min(labels, key=lambda name: labels[name])
        what = f"{least} rows of the label {rare}"
        risk(
            what,
            f"with fewer than {_FEW} a label, results differ much from seed to seed",
            "label more rows, or run seeds",
        )
    if labels and most >= _UNEVEN * max(1, least):
        do = f"{step}.techniques=[class_weights] score.metrics=[f1]"
        risk("uneven labels", f"the commonest has {most / max(1, least):.0f} times the rows of the rarest", do)
    if facts["validation_rows"]:
        half = 100 * 1.96 * math.sqrt(0.25 / facts["validation_rows"])
        if half > 3:
            why = f"differences below about {half:.0f} points of accuracy are chance on them"
            risk(f"{facts['validation_rows']} validation rows", why, "data.split='{validation: 0.2, test: 0.2}'")
    if cost and cost["cut"] > _LONG:
        why = f"{cost['cut']:.0%} of the texts fill all positions of the model: their ends are not read"
        risk("long texts", why, "cut them into pieces, or take a model with more positions")
    if facts["language"] == "other":
        risk(
            "language",
            facts["language_why"],
            "an encoder of that language: " + f"{step}.backbone='{{pretrained: ./its-folder}}'",
        )
    risk("no baseline beaten", "a larger model often does not beat TF-IDF on few rows", "danlu run measures both")
    return found
