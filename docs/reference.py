"""Write docs/reference.md from the code: stages, plug-ins, options, commands. `make docs`; a test holds it fresh."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from danlu.cli.catalogue import default_words, needs
from danlu.cli.main import app
from danlu.core import moments, plugin
from danlu.core.wording import words

TARGET = Path(__file__).with_name("reference.md")


def reference() -> str:
    """The whole page."""
    parts = ["# Reference", "Made from the code by `make docs`; do not edit.", "## Commands", *_commands()]
    for family in plugin.families():
        found = _own(family)
        if found:
            parts.append(f"## {family}")
            parts += [_TABLES[family](found)] if family in _TABLES else []
            parts += [part for entry in found for part in _plugin(entry)]
    return "\n\n".join(parts) + "\n"


def _commands() -> list[str]:
    group = typer.main.get_command(app)
    return [part for name, command in group.commands.items() for part in _command(f"danlu {name}", command)]


def _command(name: str, command: Any) -> list[str]:
    parts = [f"### `{name}`", "\n\n".join(" ".join(p.split()) for p in (command.help or "").split("\n\n"))]
    rows = [_parameter(p) for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
    if rows:
        parts.append("\n".join(["| argument | meaning |", "| --- | --- |", *rows]))
    for sub, inner in getattr(command, "commands", {}).items():
        parts += _command(f"{name} {sub}", inner)
    return parts


def _parameter(parameter: Any) -> str:
    names = parameter.opts if parameter.opts[0].startswith("-") else [parameter.metavar]
    shown = " ".join(f"`{name}`" for name in names)
    return f"| {shown} | {_cell(parameter.help or '')} |"


def _plugin(entry: plugin.Entry) -> list[str]:
    parts = [f"### {plugin.singular(entry.family)} `{entry.name}`", entry.doc.strip()]
    if entry.fields:
        rows = ["| option | type | default | meaning |", "| --- | --- | --- | --- |"]
        rows += [_option(entry, name) for name in entry.fields]
        parts.append("\n".join(rows))
    told = [f"gives {fact}: {value}" for fact, value in entry.gives.items()]
    told += [f"wants {fact}: {' or '.join(values)}" for fact, values in entry.wants.items()]
    if "needs" in entry.facts:
        told = [f"needs {needs(entry)}", f"makes {entry.facts['makes']}", *told]
    return [*parts, "; ".join(told)] if told else parts


def _compatibility(techniques: list[plugin.Entry]) -> str:
    """Which technique goes with what, as their facts and those of the methods say; `danlu check` reads the same."""
    methods = _own("methods")
    columns = ["technique", "inputs", "answers", "methods", "precision", "`--nproc`", "`--shard`", "its step names"]
    rows = [_row([*columns, "not beside"]), _row(["---"] * 9)]
    for entry in techniques:
        kinds = [", ".join(entry.wants.get(fact, ["any"])) for fact in ("modality", "answer")]
        without = [method.name for method in methods if _never_trains(method) or not _go_together(entry, method)]
        named = [*entry.facts["inputs"], *(name for name in entry.facts["beside"] if name != "reference")]
        against = [other.name for other in techniques if other is not entry and not _go_together(entry, other)]
        cells = [f"all but {_names(without)}" if without else "all", *_of_run(entry), _names(named), _names(against)]
        rows.append(_row([f"`{entry.name}`", *kinds, *cells]))
    return "\n".join([_OF_TECHNIQUES, "", *rows])


_OF_TECHNIQUES = (
    "Every technique goes with every backbone that descends a gradient, and no other; `mixup` of texts and the "
    "adversaries want one with embeddings, `r_drop` one with dropout. `danlu check` refuses what the table does: what "
    "stands under *not beside*, what it leaves out, and a step that names less than it must. What it says of "
    "`--nproc` (several processes) and `--shard` (each holds a share of the weights) is refused when `danlu run` "
    "starts, by `danlu plan`, and by `danlu check` with the same options. How it was tried: "
    "[techniques.md](techniques.md)."
)


def _of_methods(methods: list[plugin.Entry]) -> str:
    """Which method goes with what, as their facts say."""
    columns = ["method", "inputs", "heads", "answers", "layers", "precision", "`--nproc`", "`--shard`"]
    rows = [_row(columns), _row(["---"] * len(columns))]
    for entry in methods:
        facts = ("modality", "head", "answer", "layers")
        cells = [", ".join(entry.wants.get(fact, ["any"])) for fact in facts]
        rows.append(_row([f"`{entry.name}`", *cells, *_of_run(entry)]))
    whole = _names([entry.name for entry in _own("optimizers") if entry.facts["unshared"]])
    free = _names([entry.name for entry in methods if "learning" not in entry.wants])
    still = [
        f"`{entry.name}` with `{option}: {json.dumps(value)}`"
        for entry in methods
        for option, value in (entry.facts["nothing_when"] or {}).items()
    ]
    less = [
        f" `{entry.name}` with `{option}: {json.dumps(value)}` gives {fact} = {gives}."
        for entry in methods
        for option, value, fact, gives in entry.facts["gives_when"]
    ]
    told = [
        f"What `danlu check` refuses in a step that trains. All but {free} want a backbone that descends a gradient. "
        f"In several processes `folds` is refused, and with `--shard` the optimizers {whole}. "
        f"{', '.join(still)} trains nothing, and goes with no technique.{''.join(less)}"
    ]
    return "\n".join([*told, "", *rows])


def _of_run(entry: plugin.Entry) -> list[str]:
    """What a method or technique says of precision, of several processes, and of shares of the weights."""
    if _never_trains(entry):
        return ["–", "–", "–"]
    one = [(entry.name, entry.facts["moments"])]
    precision = "fp32, bf16" if any(moments.in_fp16(one)) else "fp32, bf16, fp16"
    ranks = not any(moments.in_ranks(one, 2))
    shares = ranks and not any(moments.in_shares(one))
    whole = ", ".join(f"without `{option}`" for option in entry.facts.get("whole_with", ()))
    return [precision, "yes" if ranks else "no", (whole or "yes") if shares else "no"]


def _own(family: str) -> list[plugin.Entry]:
    return [entry for entry in plugin.entries(family) if entry.origin == "danlu"]


def _never_trains(entry: plugin.Entry) -> bool:
    return entry.facts.get("nothing_when") == {}


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _go_together(one: plugin.Entry, other: plugin.Entry) -> bool:
    pairs = ((one, other), (other, one))
    return all(a.gives.get(fact, values[0]) in values for a, b in pairs for fact, values in b.wants.items())


def _option(entry: plugin.Entry, name: str) -> str:
    field = entry.fields[name]
    default = "required" if field["required"] else f"`{default_words(field)}`"
    type_ = words(field["schema"], field["schema"].get("$defs"))
    main = " (main)" if name == entry.main else ""
    return f"| `{name}`{main} | {_cell(type_)} | {_cell(default)} | {_cell(field['doc'])} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


_TABLES = {"techniques": _compatibility, "methods": _of_methods}

if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
