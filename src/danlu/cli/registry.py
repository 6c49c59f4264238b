"""`danlu versions`, `promote` and `rollback`: the published models, their versions, and the aliases that move between
them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import JsonOption, StoreOption, note, print_json, say, table
from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

api = lazy("danlu.api")
registry_store = lazy("danlu.registry.store")
registry_versions = lazy("danlu.registry.versions")
card = lazy("danlu.registry.card")

VersionArgument = Annotated[str, typer.Argument(help="The version: `name@3` or `name@alias`.", metavar="NAME@VERSION")]
NameArgument = Annotated[str, typer.Argument(help="A model's name.", metavar="NAME")]
AliasOption = Annotated[str, typer.Option("--alias", help="The alias to move.")]
ExpectOption = Annotated[
    int | None, typer.Option("--expect", min=0, help="Move only if the alias points to this version now; 0: to none.")
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, kept in the audit.")]


def open_registry(store: Path | None) -> Any:
    """The registry of the store that `--store`, DANLU_STORE or the working folder names."""
    return registry_store.Registry(api.locate(store).path)


def versions(
    name: Annotated[
        str | None,
        typer.Argument(help="A model's name, `name@3` or `name@alias`; all models when left out.", metavar="[NAME]"),
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Who did what, when and why, instead.")] = False,
    as_card: Annotated[bool, typer.Option("--card", help="The card of one version instead.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the published versions, newest first, with the aliases that point to them.

    Example:  danlu versions review-sentiment
    """
    registry = open_registry(store)
    if as_card:
        _print_card(registry, name or "", as_json)
    elif audit:
        _print_audit(registry, name or "", as_json)
    else:
        _print_versions(registry, name or "", as_json)


def _print_versions(registry: Any, name: str, as_json: bool) -> None:
    found = [registry.resolve(name)] if "@" in name else registry.versions(name)
    if not found and name:
        registry.resolve(name)  # raises, with the nearest names
    if not found and not as_json:
        say(f"No model is published in {registry.store}. `danlu run RECIPE` publishes one.")
        return
    pointing = {n: registry.aliases(n) for n in {v.name for v in found}}
    aliases = {v.reference: [a for a, number in pointing[v.name].items() if number == v.number] for v in found}
    if as_json:
        print_json([_told(v) | {"aliases": aliases[v.reference]} for v in found])
        return
    rows = [
        (v.reference, ", ".join(aliases[v.reference]), _time(v.published), f"{v.size / 1e6:.1f}", v.digest[:12])
        for v in found
    ]
    table(["version", "alias", "published (UTC)", "MB", "digest"], rows, right=["MB"])


def _told(version: Any) -> dict[str, Any]:
    names = ("name", "number", "reference", "published", "digest", "size")
    return {name: getattr(version, name) for name in names}


def _time(at: str) -> str:
    """To the second, as a person reads it."""
    return at[:19].replace("T", " ")


def _print_audit(registry: Any, name: str, as_json: bool) -> None:
    registry.check_audit()
    entries = registry.audit(name)
    if not entries and name:
        registry.resolve(name)  # raises, with the nearest names
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    models = [f"{e.name}@{e.alias}" if e.alias else e.name for e in entries]
    rows = [
        (_time(e.at), e.actor, e.action, model, e.before or "", e.after, e.why) for e, model in zip(entries, models)
    ]
    table(["when (UTC)", "who", "what", "model", "from", "to", "why"], rows)


def _print_card(registry: Any, reference: str, as_json: bool) -> None:
    if not reference:
        raise RecipeError("--card needs a model", do="danlu versions NAME@VERSION --card")
    version = registry.resolve(reference)
    if as_json:
        print_json(version.metadata)
    else:
        say(card.markdown(version))


def promote(
    name: VersionArgument,
    alias: AliasOption = "production",
    expect: ExpectOption = None,
    why: WhyOption = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Point an alias to a version: `production` unless told otherwise. Served models follow it.

    Every file of the version is checked by its SHA-256 before; a damaged one is refused.

    Example:  danlu promote review-sentiment@2 --why "better on long reviews"
    """
    registry = open_registry(store)
    if "@" not in name:
        raise RecipeError(f"{name!r} does not say which version", do=f"danlu promote {name}@NUMBER")
    version = registry.resolve(name)
    registry.open(version)
    stood = registry.aliases(version.name).get(alias)
    entry = registry.move(version.name, alias, to=version.number, expect=_expected(expect), why=why)
    if stood == entry.after and not as_json:
        say(f"{entry.name}@{entry.alias} points to {entry.name}@{entry.after} already; nothing was written")
        return
    _tell_move(registry, entry, as_json)


def rollback(
    name: NameArgument,
    alias: AliasOption = "production",
    expect: ExpectOption = None,
    why: WhyOption = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Point an alias back to the version before. A second rollback goes one further back.

    Example:  danlu rollback review-sentiment --why "complaints about sarcasm"
    """
    registry = open_registry(store)
    entry = registry.rollback(name, alias, expect=_expected(expect), why=why)
    _tell_move(registry, entry, as_json)


def _expected(number: int | None) -> Any:
    return registry_versions.ANY if number is None else number or None


def _tell_move(registry: Any, entry: Any, as_json: bool) -> None:
    versions = [registry.version(entry.name, number) for number in (entry.before, entry.after) if number]
    if len(versions) == 2 and (warning := registry_versions.relabelled(*versions)):
        note(warning, style="yellow")
    if as_json:
        print_json(asdict(entry))
        return
    before = f" (before: {entry.name}@{entry.before})" if entry.before else ""
    say(f"{entry.name}@{entry.alias} → {entry.name}@{entry.after}{before}")
