"""One JSON text for equal values: for reuse keys, manifests and logs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """JSON in UTF-8 with sorted keys: equal values give equal bytes.

    Numpy numbers and arrays become numbers and lists, sets sorted lists, NaN and infinities null, and anything that
    JSON has no word for its text.
    """
    separators = None if indent else (",", ":")
    text = json.dumps(
        plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )
    return text.encode(errors="backslashreplace")  # half a surrogate pair becomes its JSON escape


def plain(value: Any) -> Any:
    """The value in JSON's own types; see `to_json`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, AbstractSet):
        return sorted((plain(item) for item in value), key=repr)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)
