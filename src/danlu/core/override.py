"""Overrides: `step.option=value` puts a value in a recipe's place, as if it had been written there.

In a slot `slot=…` replaces the whole plug-in; `slot.name.option=…` changes an option of the plug-in that is chosen.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from danlu.core import plugin
from danlu.core.document import parse
from danlu.core.errors import DanluError, Fault, RecipeError
from danlu.core.resolve import Typed
from danlu.core.settings import named, with_main

_PLAIN = (">", "|", "%", "@", "`", "*")
"""Signs that begin a block of lines, a directive, nothing at all, or the name of what stands elsewhere."""


@dataclass(frozen=True)
class Override:
    """A path in a recipe, and the value to put there."""

    path: tuple[str, ...]
    value: Any
    text: str

    @classmethod
    def read(cls, text: str) -> Override:
        """An override as it is typed: `path=value`, the value in YAML. Raises RecipeError when it is not one.

        A value such as `>= 0.5`, `@x` or `*.csv`, whose first sign makes no sense to YAML in one line, is the text it
        plainly is.
        """
        path, equals, value = text.partition("=")
        parts = tuple(part.strip() for part in path.split("."))
        if not equals or not all(parts):
            raise RecipeError(f"{text!r} is not an override", do="write step.option=value, such as tuned.epochs=3")
        plain = value.strip()
        read = plain if plain.startswith(_PLAIN) else parse(value, f"{path}=")
        return cls(parts, _typed(read), text)

    @property
    def written(self) -> str:
        """The value as it was typed."""
        return self.text.partition("=")[2]


def _typed(value: Any) -> Any:
    if isinstance(value, str):
        return Typed(value)
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else value


def apply(step: dict[str, Any], stage: plugin.Entry | None, override: Override) -> None:
    """Put the override's value into a step; the first part of its path is the step's name.

    Raises RecipeError, with the override to paste, when it names a plug-in that is not the chosen one.
    """
    fields = stage.fields if stage else {}
    _into_options(step, fields, override.path[1:], override, override.path[0])


def _into_options(
    options: dict[str, Any], fields: Mapping[str, Any], path: tuple[str, ...], override: Override, where: str
) -> None:
    name, rest = path[0], path[1:]
    if not rest:
        options[name] = override.value
        return
    field = fields.get(name, {})
    schema = field.get("schema", {})
    current = options[name] if name in options else copy.deepcopy(field.get("default"))
    options[name] = _changed(current, schema, schema.get("$defs", {}), rest, override, f"{where}.{name}")


def _changed(
    current: Any,
    schema: Mapping[str, Any],
    defs: Mapping[str, Any],
    path: tuple[str, ...],
    override: Override,
    where: str,
) -> Any:
    """The value at `where` after the override; `path` leads on from there."""
    if not path:
        return override.value
    schema = _behind(schema, defs)
    if "x-slot" in schema:
        return _in_slot(current, schema["x-slot"], path, override, where)
    if "x-slot" in schema.get("items", {}):
        return _in_list(current, schema["items"]["x-slot"], path, override, where)
    if current is not None and not isinstance(current, Mapping):
        raise RecipeError(f"is {current!r}, which has nothing inside", where=where, do=f"{where}={override.written}")
    inner = schema.get("properties", {}).get(path[0]) or schema.get("additionalProperties")
    inner = inner if isinstance(inner, Mapping) else {}
    changed = dict(current or {})
    changed[path[0]] = _changed(changed.get(path[0]), inner, defs, path[1:], override, f"{where}.{path[0]}")
    return changed


def _behind(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that is meant: behind a reference, or the one alternative that is not null."""
    if "$ref" in schema:
        return _behind(defs[schema["$ref"].rpartition("/")[2]], defs)
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return _behind(options[0], defs) if len(options) == 1 else schema


def _in_slot(current: Any, family: str, path: tuple[str, ...], override: Override, where: str) -> dict[str, Any]:
    name, given = named(current, family) if current is not None else ("nothing", {})
    rest = _after_name(path, name)
    if rest is None:
        raise _not_chosen(name, family, path, override, where)
    if not rest:
        return {name: override.value}
    entry = plugin.find(family, name)
    options = with_main(given, entry)
    _into_options(options, entry.fields, rest, override, f"{where}.{name}")
    return {name: options}


def _in_list(current: Any, family: str, path: tuple[str, ...], override: Override, where: str) -> list[Any]:
    chosen = list(current) if isinstance(current, list) else []
    for k, item in enumerate(chosen):
        if _after_name(path, named(item, family)[0]) is not None:
            chosen[k] = _in_slot(item, family, path, override, where)
            return chosen
    names = ", ".join(named(item, family)[0] for item in chosen) or "nothing"
    raise RecipeError(f"{path[0]} is not among {names}", where=where, do=f"{where}='[…]' gives the whole list")


def _after_name(path: tuple[str, ...], name: str) -> tuple[str, ...] | None:
    """What of a path comes after a plug-in's name, which may hold dots itself; None: it is another name."""
    parts = tuple(name.split("."))
    return path[len(parts) :] if path[: len(parts)] == parts else None


def _not_chosen(name: str, family: str, path: tuple[str, ...], override: Override, where: str) -> RecipeError:
    one, value = plugin.singular(family), override.written
    options = plugin.find(family, name).fields if name != "nothing" else {}
    if path[0] in options:
        mended = f"{where}.{name}.{'.'.join(path)}={value}"
        return RecipeError(f"{path[0]} is an option of the {one} {name}, whose name is missing", where=where, do=mended)
    inner = value
    for part in reversed(path):
        inner = f"{{{part}: {inner}}}"
    return RecipeError(f"the {one} is {name}, not {path[0]}", where=where, do=f"{where}='{inner}'")


def as_fault(error: DanluError, where: str) -> Fault:
    """An error told as one of a recipe's faults."""
    return Fault(error.where or where, error.what, error.do)
