"""A lineage in words: what each artifact is, how it was made in short, and the whole as a tree of lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from danlu.core import plugin
from danlu.core.errors import DanluError
from danlu.core.resolve import resolve_options
from danlu.registry.lineage import Node, lineage
from danlu.registry.versions import Version

_DIGITS = 12


def tree(version: Version) -> list[str]:
    """The lineage as lines: the version, below it what it was made from, down to the source of its data."""
    return _branch(lineage(version), version, "", "")


def _branch(node: Node, version: Version, first: str, others: str) -> list[str]:
    below = list(node["inputs"].values())
    head, *details = told(node, version)
    lines = [f"{first}{node['name']}: {head}", *(f"{others}{'│' if below else ' '}     {line}" for line in details)]
    for place, source in enumerate(below):
        last = place == len(below) - 1
        lines += _branch(
            source, version, f"{others}{'└── ' if last else '├── '}", f"{others}{'    ' if last else '│   '}"
        )
    return lines


def told(node: Node, version: Version) -> list[str]:
    """A node in a few lines: what it is, what decided it, what it came to."""
    if node["kind"] == "version":
        return _version(version)
    head = f"{node['kind']} {node['digest'][:_DIGITS]}"
    if "again" in node:
        return [f"{head} (told above)"]
    if "missing" in node:
        return [f"{head} (its manifest was not stored)"]
    facts = node["facts"]
    lines = [f"{head}, by {facts['stage']}", f"key {facts['key'][:_DIGITS]}"]
    if settings := in_short(facts["stage"], facts["settings"]):
        lines.append(settings)
    if node["kind"] == "dataset":
        lines.append(source(version))
    return lines


def _version(version: Version) -> list[str]:
    lines = [f"version {version.digest[:_DIGITS]}, {version.size / 1e6:.1f} MB"]
    lines.append(f"published {version.published[:19].replace('T', ' ')} UTC")
    if origin := version.metadata.get("origin"):
        lines.append(f"imported; it was {origin['reference']}, published {origin['published'][:10]}")
    return lines


def source(version: Version) -> str:
    """Where the rows of a version are from, the digest over them, and how many each split has."""
    data = version.metadata.get("data", {})
    rows = ", ".join(f"{name} {told['rows']:,}" for name, told in data.get("splits", {}).items() if "rows" in told)
    digest = str(data.get("fingerprint", ""))[:_DIGITS]
    return ", ".join(filter(None, [f"source rows {digest}" if digest else "", rows]))


def in_short(stage: str, settings: Mapping[str, Any]) -> str:
    """The settings that are not the defaults, as a person says them."""
    return ", ".join(f"{name} {text}" for name, text in _own("stages", stage, settings))


def _own(family: str, name: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    defaults = _defaults(family, name)
    for option, value in settings.items():
        if option not in defaults or defaults[option] != value:
            yield option, _worded(value)


def _defaults(family: str, name: str) -> Mapping[str, Any]:
    try:
        entry = plugin.find(family, name)
        return resolve_options(entry, {}, "", []).plain()[entry.name]  # type: ignore[no-any-return]
    except DanluError:
        return {}


def _worded(value: Any) -> str:
    if isinstance(value, Mapping) and len(value) == 1:
        name, options = next(iter(value.items()))
        family = next((e.family for e in plugin.entries() if e.name == name), "")
        if family and isinstance(options, Mapping):
            own = ", ".join(f"{option} {text}" for option, text in _own(family, name, options))
            return f"{name} ({own})" if own else str(name)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_worded, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
