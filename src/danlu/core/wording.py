"""What a JSON Schema asks for, and values of a recipe, in words for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from danlu.core import plugin

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_RANGES = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_POINTS = {
    "files": "the path of a file or folder",
    "model": "a model (its folder, name@version or name@alias, or $step)",
    "dataset": "a data set ($step, or its folder)",
    "rows": "the path of a file or folder, a pattern (data/*.csv) or a URL (s3://…, https://…)",
    "location": "a model's place (asset:name, ./folder or hub:org/name@revision)",
}


def words(schema: Mapping[str, Any], defs: Mapping[str, Any] | None = None) -> str:
    """What a JSON Schema asks for, as a person says it: `a number >= 0 and < 1`, `one of cosine, linear`."""
    if "$ref" in schema:
        return words((defs or {}).get(schema["$ref"].rpartition("/")[2], {}), defs)
    if "x-slot" in schema:
        one = plugin.singular(schema["x-slot"])
        return f"an {one}" if one[0] in "aeiou" else f"a {one}"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(words(option, defs) for option in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return ("one of " if len(allowed) > 1 else "") + ", ".join(key_text(value) for value in allowed)
    if "x-points" in schema:
        return _POINTS[schema["x-points"]]
    return _TYPES.get(str(schema.get("type")), "a value") + _limits(schema, defs)


def _limits(schema: Mapping[str, Any], defs: Mapping[str, Any] | None) -> str:
    ranges = [f"{sign} {schema[word]}" for word, sign in _RANGES.items() if word in schema]
    told = " " + " and ".join(ranges) if ranges else ""
    if schema.get("type") == "array":
        few, many = schema.get("minItems", 0), schema.get("maxItems")
        told += f" of {few}" if few == many else f" of at least {few}" if few else f" of at most {many}" if many else ""
        return told + (f", each {words(schema['items'], defs)}" if schema.get("items") else "")
    if schema.get("minLength") == 1:
        told += " that is not empty"
    if "pattern" in schema:
        told += f" that matches {schema['pattern']}"
    if schema.get("type") == "object" and "properties" in schema:
        told += f" with {', '.join(schema['properties'])}"
    return told


def shown(value: Any) -> str:
    """A value as a recipe writes it, cut to a few words."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def hint(schema: Mapping[str, Any], value: Any) -> str:
    """How the commonest slips are mended."""
    if schema.get("type") == "boolean" and str(value).lower() in ("yes", "no", "on", "off"):
        return "write true or false: in YAML 1.2 yes, no, on and off are text"
    if schema.get("type") == "array" and isinstance(value, str):
        return f"[{value}]"
    if schema.get("type") == "string" and isinstance(value, bool | int | float):
        return f'put it in quotes: "{key_text(value)}"'
    return ""


def key_text(key: Any) -> str:
    """A key of a mapping as text, also where it is none."""
    return str(key) if isinstance(key, str) else json.dumps(key, default=str)
