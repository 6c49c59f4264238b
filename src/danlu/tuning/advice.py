"""Which backbone, which method, how long, and what may go wrong: told from the data and this machine, without training.

The rules are stated in docs/tuning.md with their sources. Time and memory come from a few passes of the backbone.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from danlu import draft, recipe
from danlu.blocks.dataset import label_counts
from danlu.blocks.labels import label_name
from danlu.blocks.language import detect_language
from danlu.blocks.spread import spread
from danlu.contracts import Task, iterate_rows
from danlu.core import assets, document, machine
from danlu.core.canonical import plain
from danlu.core.combine import fitting
from danlu.core.errors import DataError, RecipeError
from danlu.core.plan import Step
from danlu.core.resolve import Choice, Versions, resolve
from danlu.training.dry import spoken
from danlu.tuning import cost as costs
from danlu.tuning import risks
from danlu.tuning.space import FEW, label

_MOST = 20_000
_SLOW = 30 * 60
_MEASURED = 8
"""Rows of a label from which on `few_shot` was tried."""
_ENCODED = ("input", "position", "vector")
"""Heads that an encoder such as minilm is read by."""
_BY_LABELS = ("few_shot", "zero_shot")
_NAMES = {"zh": "Chinese"}
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
    rows = _read(data.stage.make(data.name), step)
    facts = rows.facts()
    shots = _shots(rows.task, facts)
    told, chosen = _backbone(step, rows.task, facts, shots)
    cost, why = _cost(chosen, rows, step, facts)
    advice = [told, *_choices(step, rows.task, told, chosen, shots, cost, why)]
    found: dict[str, Any] = plain(
        {
            "name": checked.name,
            "data": facts,
            "machine": {"threads": machine.cpu_threads(), "memory_free_mb": round(machine.available_memory() / 1e6)},
            "advice": advice,
            "risks": risks.of(step.name, data.name, rows.task, facts, chosen, cost),
        }
    )
    return found


def _drafted(data: Path) -> dict[str, Any]:
    """The recipe that `danlu new` would write, without writing it."""
    made = draft.draft(data, Path.cwd() / ".danlu-advise.yaml")
    found: dict[str, Any] = document.parse(made.text, str(data))
    return found


# ---- what the data is ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Rows spread over the data, and the task with its labels."""

    task: Task
    table: pa.Table
    labelled: pa.Table
    """Those of them that have a label; all, where the answers are no single labels."""
    total: int
    """How many rows there are of which `table` is a part."""
    train: float
    """The share of them that is trained on."""
    validation: int

    def facts(self) -> dict[str, Any]:
        scale, counts = self.total / self.table.num_rows, label_counts([self.labelled], self.task)
        named = dict.fromkeys(getattr(self.task, "labels", ()), 0) if self.task.gives.get("answer") == "label" else {}
        looked = self.table.slice(0, costs.SAMPLE if self.task.gives.get("modality") == "text" else 0)
        texts = [" ".join(_strings(self.task.ask(row))) for row in iterate_rows(looked)]
        language = detect_language(texts) if texts else None
        labelled = round(self.labelled.num_rows * scale)
        return {
            "rows": self.total,
            "train_rows": round(labelled * self.train),
            "validation_rows": self.validation,
            "unlabelled_rows": self.total - labelled,
            "task": self.task.name,
            "labels": {name: round(count * scale) for name, count in (named | counts).items()},
            "train_share": self.train,
            "language": language.code if language else "",
            "language_why": language.reason if language else "",
        }


def _read(prepare: Any, step: Step) -> _Rows:
    """What there is to learn from, before any operator. Raises DataError where that is nothing."""
    splits = prepare.source.splits()
    table, _, total = spread(prepare.source.rows("train") if "train" in splits else prepare.source.rows(), _MOST)
    if table is None or not total:
        raise DataError("there are no rows", where=prepare.source.name, do="name a file that has some")
    described = step.stage.settings["method"].settings.get("descriptions") or ()
    task, table, labelled = _labelled(prepare.task, table, tuple(described))
    held = {name: getattr(prepare.split, name) for name in ("validation", "test") if name not in splits}
    validation = round(total * labelled.num_rows / table.num_rows * prepare.split.validation)
    if "validation" in splits:
        validation = sum(batch.num_rows for batch in prepare.source.rows("validation"))
    return _Rows(task, table, labelled, total, 1 - sum(held.values()), validation)


def _labelled(task: Task, table: pa.Table, described: Sequence[str]) -> tuple[Task, pa.Table, pa.Table]:
    """The task settled, all rows, and those with a label. Where no row has one, the recipe must name the labels: the
    task's `labels`, or the method's `descriptions`. Raises DataError as `prepare` does."""
    if task.gives.get("answer") != "label":
        return task.settle(table).resolve(table), table, table
    named = getattr(task, "labels", ()) or tuple(described)
    try:
        whole = task.settle(table)
    except DataError:
        column = getattr(task, "label", None) or "label"
        if not named or column in table.column_names:
            raise
        table = table.append_column(column, pa.nulls(table.num_rows, pa.string()))
        whole = task.model_copy(update={"label": column}).settle(table)
    known = [label_name(value) is not None for value in table.column(whole.columns().gold[0]).to_pylist()]
    labelled = table.filter(pa.array(known, pa.bool_()))
    if named and not any(known):
        return whole.model_copy(update={"labels": tuple(named)}), table, labelled
    return whole.resolve(labelled if any(known) else table), table, labelled


def _strings(asked: Any) -> Iterator[str]:
    """The texts in what a task asks: a text, words, a question and a context, a conversation."""
    if isinstance(asked, str):
        yield asked
    elif isinstance(asked, Mapping):
        for name, value in asked.items():
            if name != "role":
                yield from _strings(value)
    elif isinstance(asked, list | tuple | np.ndarray):
        for value in asked:
            yield from _strings(value)


def _shots(task: Task, facts: Mapping[str, Any]) -> tuple[int, int] | None:
    """The training rows of the rarest and of the commonest label; None where they are not labels of texts."""
    if not any(entry.name in _BY_LABELS for entry in fitting("methods", task.gives)):
        return None
    counts = [round(count * facts["train_share"]) for count in facts["labels"].values()]
    return (min(counts), max(counts)) if counts else None


def _few(shots: tuple[int, int] | None) -> bool:
    return shots is not None and shots[1] <= FEW[1]


# ---- the choices -----------------------------------------------------------------------------------------------------


def _told(about: str, choice: str, why: str, override: str = "") -> dict[str, str]:
    return {"about": about, "choice": choice, "why": why, "override": override}


def _backbone(
    step: Step, task: Task, facts: Mapping[str, Any], shots: tuple[int, int] | None
) -> tuple[dict[str, str], Choice | None]:
    """The backbone and why; the choice itself where it learns by descent, so that its cost can be measured."""
    own, language = step.stage.settings["backbone"], facts["language"]
    fits = {entry.name for entry in fitting("backbones", task.gives)}
    if own is None:
        return _told("backbone", "the model of another step", "the recipe starts from it"), None
    default = own.plain() == {"pretrained": {"model": "asset:minilm", "dropout": None}}
    learns = own if own.entry.gives.get("learning") == "descent" else None
    there = assets.is_here(assets.find("minilm"))
    if default and language in ("", "en") and not there:
        why = "an English encoder, not on this machine yet"
        return _told("backbone", "minilm", why, "danlu assets get minilm"), None
    unread = not facts["train_rows"] and own.name != "pretrained"
    if (default or unread) and language not in ("", "en"):
        why = f"minilm knows English only, and {facts['language_why']}"
        if "tfidf_lr" in fits and facts["train_rows"]:
            return _told("backbone", "tfidf_lr", why, f"{step.name}={{do: finetune, backbone: tfidf_lr}}"), None
        choice = f"an encoder of {_NAMES.get(language, 'that language')}"
        return _told("backbone", choice, why, f"{step.name}.backbone='{{pretrained: ./its-folder}}'"), None
    reads = "pretrained" in fits and task.gives.get("head") in _ENCODED and language == "en"
    if reads and (learns is None or (_few(shots) and own.name != "pretrained")):
        stays = f"{own.name} stays the baseline to beat" if learns is None else f"so few rows teach {own.name} little"
        chosen = resolve("backbones", {"pretrained": "asset:minilm"}, "backbone", []) if there else None
        override = f"{step.name}.backbone='{{pretrained: \"asset:minilm\"}}'"
        return _told("backbone", "pretrained minilm", f"{facts['language_why']}; {stays}", override), chosen
    return _told("backbone", label(own.plain()), "the recipe's own; nothing in the data speaks against it"), learns


def _cost(
    chosen: Choice | None, rows: _Rows, step: Step, facts: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    """What the training costs, or why that is not known."""
    if chosen is None or not rows.labelled.num_rows:
        return None, ""
    try:
        return costs.of(chosen, rows.task, rows.labelled, step, facts), ""
    except DataError as error:  # an operator may drop or mend the row
        return None, error.what


def _choices(
    step: Step, task: Task, backbone: Mapping[str, str], chosen: Choice | None, shots: tuple[int, int] | None,
    cost: dict[str, Any] | None, unknown: str,
) -> list[dict[str, str]]:  # fmt: skip
    """Method, length, time and memory, with their reasons; what the method wants at least is noted in the cost."""
    said: list[dict[str, str]] = []
    encoder = chosen.name == "pretrained" if chosen else "minilm" in backbone["choice"]
    gaps = step.stage.settings["method"].name == "verbalizer"  # which is made for few rows too
    if shots and _few(shots) and encoder and not gaps:
        said = [_by_labels(step, shots)]
    elif cost:
        said = [_by_cost(step, cost)]
    if unknown:
        said.append(_told("time", "not measured", f"of the rows as they are: {unknown}"))
    if cost is None or said[0]["choice"] == "zero_shot":
        return said
    method = said[0]["choice"]
    kind = "full" if method == "verbalizer" else method if method in ("full", "few_shot") else "part"
    cost["least_mb"] = cost["memory_mb"][kind]
    if _half_tuned(task, method, cost):
        few = f"{cost['updates']:,} updates leave a small encoder half-tuned"
        said.append(_told("length", f"{draft.MIN_UPDATES} steps", few, cost["longer"]))
    why = "three forward passes a row, timed on this machine just now; within a factor of 2"
    wants = "weights, gradients, AdamW's moments, activations of the longest rows"
    return [
        *said,
        _told("time", spoken(cost["seconds"][kind]), why),
        _told("memory", f"{cost['memory_mb'][kind]:,.0f} MB", wants),
    ]


def _half_tuned(task: Task, method: str, cost: Mapping[str, Any]) -> bool:
    encoder = cost["pretrained"] and task.gives.get("head") in _ENCODED
    return bool(encoder and method != "few_shot" and cost["updates"] < draft.MIN_UPDATES)


def _by_labels(step: Step, shots: tuple[int, int]) -> dict[str, str]:
    """The method where labels have few rows, or none."""
    own, (least, most) = step.stage.settings, shots
    if least < FEW[0]:
        lack = "no row has a label" if not most else f"a label has {least} training rows, too few to draw together"
        why = (
            f"{lack}; two described labels gave 0.679 on movie-snippets without any row (docs/proofs.md). Write in "
            f"`descriptions` what a text of each label might say, and label some rows to judge it by"
        )
        return _told("method", "zero_shot", why, _chosen(step, "zero_shot"))
    rows = f"{least}" if least == most else f"{least} to {most}"
    why = (
        f"{rows} training rows a label; 16 a label with a described sentence each gave 0.721 on movie-snippets, where "
        f"zero_shot had 0.679 (docs/proofs.md). Write in `descriptions` what a text of each label might say"
    )
    if least < _MEASURED:
        why += f"; with fewer than {_MEASURED} rows it was not measured, so compare it with zero_shot"
    length = [f"{step.name}.{name}=null" for name in ("epochs", "steps") if own[name]]
    last = [f"{step.name}.keep=last"] if own["keep"] != "last" else []
    return _told("method", "few_shot", why, " ".join(filter(None, [_chosen(step, "few_shot"), *last, *length])))


def _chosen(step: Step, method: str) -> str:
    """The override that chooses a method, with the descriptions that the recipe has; none where it has the method."""
    own = step.stage.settings["method"]
    if own.name == method:
        return ""
    said = own.plain()[own.name].get("descriptions")
    value = json.dumps({method: {"descriptions": said}}, ensure_ascii=False) if said else method
    return shlex.quote(f"{step.name}.method={value}")


def _by_cost(step: Step, cost: Mapping[str, Any]) -> dict[str, str]:
    """The method by what the machine has; one of the recipe's that trains a part of the weights stays."""
    free, own = machine.available_memory() / 1e6, step.stage.settings["method"].name
    needs = f"{spoken(cost['seconds']['full'])} and {cost['memory_mb']['full']:,.0f} MB"
    small = cost["pretrained"] and (cost["memory_mb"]["full"] > free or cost["seconds"]["full"] > _SLOW)
    if own not in ("full", *_BY_LABELS):
        why = f"the recipe's own; all weights would take {needs}"
        return _told("method", own, why)
    if small:
        return _told("method", "lora", f"all weights would take {needs}", f"{step.name}.method=lora")
    memory, seconds = cost["memory_mb"]["full"], spoken(cost["seconds"]["full"])
    why = f"it fits: {memory:,.0f} of {free:,.0f} MB free, {seconds}"
    return _told("method", "full", why, f"{step.name}.method=full")
