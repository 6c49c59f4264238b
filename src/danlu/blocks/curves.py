"""What trackers write of a run: its numbers as curves, its settings as names with a value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.core.artifact import Artifact, Store
from danlu.core.errors import DanluError


def finite_numbers(data: Mapping[str, Any], name: str) -> dict[str, float]:
    """Every finite number in `data`, by `name/key/inner key`; what is no number is left out."""
    found: dict[str, float] = {}
    for key, value in data.items():
        place = f"{name}/{key}" if name else str(key)
        if isinstance(value, Mapping):
            found |= finite_numbers(value, place)
        elif isinstance(value, int | float) and math.isfinite(value):
            found[place] = float(value)
    return found


def at_step(data: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The training step of a `numbers` event, 0 where it names none, and its other numbers."""
    step = data.get("step", 0)
    others = {key: value for key, value in data.items() if key != "step"}
    return (int(step) if isinstance(step, int | float) and math.isfinite(step) else 0), others


def settings_by_path(settings: Mapping[str, Any], path: str) -> dict[str, str]:
    """Every setting by the path an override gives it, `tuned.backbone.bert.size`, as text."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        place = f"{path}.{key}"
        if isinstance(value, Mapping) and value:
            found |= settings_by_path(value, place)
        else:
            found[place] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


def made(store: str, key: str) -> Artifact | None:
    """The artifact of a key in a run's store; None where it is not, or can't be read."""
    try:
        return Store(Path(store)).find(key) if Path(store).is_dir() else None
    except (DanluError, OSError):
        return None


def samples(store: str, key: str) -> list[dict[str, Any]]:
    """What a model answered while it was pre-trained, `{step, input, answer}` each; none where it was not asked."""
    artifact = made(store, key) if key else None
    path = artifact.path / "samples.jsonl" if artifact else None
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path and path.is_file() else []
