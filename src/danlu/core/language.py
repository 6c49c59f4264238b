"""The JSON Schema of the recipe language, from the index of plug-ins: what an editor completes and checks.

It says what can be said of a file by itself. Whether plug-ins go together, files are there and steps have their inputs
is told by `danlu check`. Overrides belong to the command line and are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from danlu.core import plugin
from danlu.core.plugin import Entry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FORMS_OF_NAME = "^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"
_STEP = "^[A-Za-z_][A-Za-z0-9_-]*$"
_REFERENCE = {"type": "string", "pattern": r"^\$[A-Za-z_][A-Za-z0-9_-]*$"}
_STRANGER = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"}
_TOP: dict[str, Any] = {
    "name": {"type": "string", "pattern": _FORMS_OF_NAME, "description": "The model's name."},
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "description": "Where all randomness comes from."},
    "description": {"type": "string", "description": "What the model is for, in the words of its card."},
    "import": {"type": "array", "items": {"type": "string"}, "description": "Python files with plug-ins of one's own."},
}


def recipe_schema(standard_steps: Mapping[str, str]) -> dict[str, Any]:
    """The schema, valid under Draft 2020-12; `standard_steps` are step → stage of a recipe that names no steps."""
    # One that was named as `module:Class` is written in that way, which `_STRANGER` allows already.
    entries = [entry for entry in plugin.entries() if not entry.error and entry.origin != "class"]
    families = {entry.family for entry in entries}
    definitions: dict[str, Any] = {f"{family}": _slot(family, entries) for family in sorted(families - {"stages"})}
    definitions |= {_key(entry): _options(entry) for entry in entries if entry.family != "stages"}
    stages = [entry for entry in entries if entry.family == "stages"]
    definitions |= {_key(stage): _step(stage) for stage in stages}
    steps = {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {_STEP: _any_step(stages)},
        "additionalProperties": False,
    }
    short = _short(stages, standard_steps)
    return {
        "$schema": DIALECT,
        "title": "A Danlu recipe",
        "oneOf": [
            {
                "type": "object",
                "properties": {**_TOP, "steps": steps},
                "required": ["steps"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {**short, **_TOP},
                "required": ["source", "task"],
                "additionalProperties": False,
            },
        ],
        "$defs": definitions,
    }


def _key(entry: Entry) -> str:
    return f"{entry.family}.{entry.name}"


def _ref(key: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{key}"}


def _slot(family: str, entries: Iterable[Entry]) -> dict[str, Any]:
    """A plug-in of a family: `name` where no option is required, `{name: {option: value}}`, `{name: main value}`."""
    own = [entry for entry in entries if entry.family == family]
    bare = [
        {"const": entry.name, "description": entry.summary}
        for entry in own
        if not any(option["required"] for option in entry.fields.values())
    ]
    with_options = [_named({entry.name: _given(entry)}, [entry.name]) for entry in own]
    classes = {"type": "object", "propertyNames": _STRANGER, "minProperties": 1, "maxProperties": 1}
    return {"oneOf": [*bare, _STRANGER, *with_options, classes], "title": plugin.singular(family)}


def _given(entry: Entry) -> dict[str, Any]:
    """What stands after a plug-in's name: its options, nothing, or the value of its main option."""
    given: list[dict[str, Any]] = [_ref(_key(entry))]
    if not any(option["required"] for option in entry.fields.values()):
        given.append({"type": "null"})
    if entry.main:
        given.append(_value(entry.fields[entry.main]))
    return {"anyOf": given} if len(given) > 1 else given[0]


def _named(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


def _options(entry: Entry) -> dict[str, Any]:
    """The options of a plug-in, with their documentation and defaults."""
    required = [name for name, option in entry.fields.items() if option["required"]]
    told = _named({name: _value(option) for name, option in entry.fields.items()}, required)
    return {**told, "description": entry.summary}


def _step(stage: Entry) -> dict[str, Any]:
    """A step: `do`, the stage's options, and its inputs as `$step`; what the recipe fills in is not required."""
    properties = {"do": {"const": stage.name, "description": stage.summary}}
    properties |= {name: _value(option) for name, option in stage.fields.items()}
    properties |= dict.fromkeys(stage.facts.get("needs", {}), _REFERENCE)
    required = [name for name, option in stage.fields.items() if option["required"] and name not in _TOP]
    return {**_named(properties, ["do", *required]), "description": stage.summary}


def _any_step(stages: list[Entry]) -> dict[str, Any]:
    """One schema by the value of `do`, so that an editor tells the faults of that stage and of no other."""
    chosen = [
        {"if": {"properties": {"do": {"const": stage.name}}, "required": ["do"]}, "then": _ref(_key(stage))}
        for stage in stages
    ]
    named = {"anyOf": [{"enum": [stage.name for stage in stages]}, _STRANGER]}
    return {"type": "object", "properties": {"do": named}, "required": ["do"], "allOf": chosen}


def _short(stages: list[Entry], standard_steps: Mapping[str, str]) -> dict[str, Any]:
    """The options that may stand at the top of a recipe without steps: each belongs to the first step that has it."""
    known = {stage.name: stage for stage in stages}
    options: dict[str, Any] = {}
    for stage in filter(None, map(known.get, standard_steps.values())):
        options = {name: _value(option) for name, option in stage.fields.items()} | options
    return options


def _value(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option's schema with its words; definitions of its own are put in their place."""
    schema = _plain(option["schema"], option["schema"].get("$defs", {}))
    told = {"description": " ".join(option["doc"].split())} if option["doc"] else {}
    default = {"default": option["default"]} if "default" in option else {}
    return {**schema, **told, **default}


def _plain(schema: Any, own: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_plain(item, own) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "x-slot" in schema:
        return _ref(schema["x-slot"])
    if "$ref" in schema:
        return _plain(own[schema["$ref"].rpartition("/")[2]], own)
    return {word: _plain(rule, own) for word, rule in schema.items() if word != "$defs" and word[:2] != "x-"}
