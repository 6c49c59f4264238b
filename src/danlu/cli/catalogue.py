"""`danlu list` and `danlu show`: what plug-ins there are, from the index alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from danlu.cli.output import ImportOption, JsonOption, facts, print_json, say, table
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.core.plugin import Entry, lazy

wording = lazy("danlu.core.wording")


def list_plugins(
    family: Annotated[
        str | None, typer.Argument(help="A family, such as `methods`; all of them when left out.", metavar="[FAMILY]")
    ] = None,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the plug-ins there are: every one is a name you can write in a recipe.

    Example:  danlu list methods
    """
    for path in imports or []:
        plugin.add_file(path)
    known = plugin.families()
    chosen = _family(family, known) if family else None
    found = plugin.entries(chosen)
    if as_json:
        print_json([_told(entry) for entry in found])
        return
    width = max((len(entry.name) for entry in found), default=0)
    for name in [chosen] if chosen else known:
        rows = [(e.name.ljust(width), e.error or e.summary) for e in found if e.family == name]
        table([f"{name} ({len(rows)})", ""], rows)
        say()
    say("danlu show NAME tells the options of one.")


def _told(entry: Entry) -> dict[str, str]:
    names = ("family", "name", "summary", "origin", "error")
    return {name: getattr(entry, name) for name in names}


def _family(name: str, known: list[str]) -> str:
    """The family that is meant, also by the word for one of it (`method`)."""
    found = next((family for family in known if name in (family, plugin.singular(family))), None)
    if found is None:
        raise RecipeError(f"there is no family called {name!r}{plugin.did_you_mean(name, known)}", do="danlu list")
    return found


def show_plugin(
    name: Annotated[
        str, typer.Argument(help="A plug-in's name, or `family/name` where two families share it.", metavar="NAME")
    ],
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one plug-in: what it does, its options with their defaults, and what it goes with.

    Example:  danlu show lora
    """
    for path in imports or []:
        plugin.add_file(path)
    entry = _find(name)
    if as_json:
        print_json(asdict(entry))
        return
    say(f"{entry.family}/{entry.name}\n")
    say(entry.doc.strip() or "(no documentation)")
    say()
    if entry.fields:
        table(["option", "type", "default", "meaning"], [_option(entry, option) for option in entry.fields])
        say()
    facts(_combines(entry))
    say(f"\nIn a recipe:  {_usage(entry)}")


def _find(name: str) -> Entry:
    family, _, short = name.rpartition("/")
    known = plugin.entries(_family(family, plugin.families()) if family else None)
    found = [entry for entry in known if entry.name == short]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"{e.family}/{e.name}" for e in found)
        raise RecipeError(f"{name!r} is the name of several plug-ins", do=f"say which: {names}")
    raise RecipeError(f"there is no plug-in called {name!r}{plugin.nearest(short, known)}", do="danlu list")


def _option(entry: Entry, option: str) -> tuple[str, str, str, str]:
    field = entry.fields[option]
    type_ = wording.words(field["schema"], field["schema"].get("$defs"))
    mark = " (main)" if option == entry.main else ""
    return option + mark, type_, default_words(field), " ".join(field["doc"].split())


def default_words(field: Any) -> str:
    """The default of an option, as a recipe writes it."""
    return "required" if field["required"] else _short(field.get("default"))


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value.values())) == {}:  # a plug-in with none of its options changed
            return str(next(iter(value)))
        return "{" + ", ".join(f"{key}: {_short(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def _combines(entry: Entry) -> dict[str, str]:
    told = {f"wants {fact}": " or ".join(values) for fact, values in entry.wants.items()}
    told |= {f"gives {fact}": value for fact, value in entry.gives.items()}
    if "needs" in entry.facts:
        told |= {"needs": needs(entry), "makes": entry.facts["makes"]}
    return told | {"from": entry.origin, "file": entry.path, "version": str(entry.version)}


def needs(entry: Entry) -> str:
    """The inputs of a stage: `dataset`, `parity (where there is one)`, `teacher (a model, where it is named)`."""
    when = ("", " (where there is one)", " (where it is named)")
    named = ((name, kind.rstrip("?"), when[kind.count("?")]) for name, kind in entry.facts["needs"].items())
    told = [(name if name == kind else f"{name} (a {kind})") + condition for name, kind, condition in named]
    return ", ".join(told) or "nothing"


def _usage(entry: Entry) -> str:
    if entry.family == "stages":
        return f"my_step: {{do: {entry.name}}}"
    required = [name for name, field in entry.fields.items() if field["required"]]
    if required == [entry.main]:
        return f"{{{entry.name}: …}}"
    options = ", ".join(f"{name}: …" for name in required)
    return f"{{{entry.name}: {{{options}}}}}" if options else entry.name
