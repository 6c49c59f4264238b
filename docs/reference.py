"""Write docs/reference.md from the code: stages, plug-ins, options, commands. `make docs`; a test holds it fresh."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from danlu.cli.catalogue import default_words, needs
from danlu.cli.main import app
from danlu.core import plugin
from danlu.core.wording import words

TARGET = Path(__file__).with_name("reference.md")


def reference() -> str:
    """The whole page."""
    parts = ["# Reference", "Made from the code by `make docs`; do not edit.", "## Commands", *_commands()]
    for family in plugin.families():
        found = [entry for entry in plugin.entries(family) if entry.origin == "danlu"]
        if found:
            parts.append(f"## {family}")
            parts += [_compatibility(found)] if family == "techniques" else []
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
    """Which technique goes with which tasks, what its step must name, and which others it refuses; from their facts."""
    rows = ["| technique | inputs | answers | its step names | not beside |", "| --- | --- | --- | --- | --- |"]
    for entry in techniques:
        kinds = [", ".join(entry.wants.get(fact, ["any"])) for fact in ("modality", "answer")]
        named = [*entry.facts["inputs"], *(name for name in entry.facts["beside"] if name != "reference")]
        against = [other.name for other in techniques if other is not entry and not _go_together(entry, other)]
        cells = [f"`{entry.name}`", *kinds, *(", ".join(f"`{name}`" for name in names) for names in (named, against))]
        rows.append("| " + " | ".join(cells) + " |")
    told = (
        "All go with every method and with both precisions, and with every backbone that descends a gradient; `mixup` "
        "of texts and the adversaries want one with embeddings. What stands under *not beside*, and a step that names "
        "less than it must, is refused by `danlu check`."
    )
    return "\n".join([told, "", *rows])


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


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
