"""How trainings went, for `danlu runs show`: small curves, numbers and samples in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from danlu.cli.output import console, facts, say
from danlu.core.plugin import lazy

recorded: Any = lazy("danlu.blocks.curves")
drawing: Any = lazy("danlu.blocks.report.training")

_BLOCKS = "▁▂▃▄▅▆▇█"
_BESIDE = 40  # columns for what stands beside a curve
_LEAST = 10


def trainings(
    steps: Mapping[str, Mapping[str, Any]], store: str, events: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Step → `{numbers, samples}` of every step that trained, or is training: what it has told so far."""
    numbers: dict[str, dict[str, Any]] = {}
    for event in events:
        name, data = event["step"], event["data"]
        if event["kind"] == "numbers" and "step" in data:
            _hear(numbers.setdefault(name, {"loss": [], "rates": [], "validation": {"looks": []}}), data)
        elif event["kind"] in ("step_done", "step_reused") and "loss" in data["numbers"]:
            numbers[name] = data["numbers"]
    return {
        name: {"numbers": told, "samples": recorded.samples(store, str(steps.get(name, {}).get("key") or ""))}
        for name, told in numbers.items()
    }


def _hear(numbers: dict[str, Any], data: Mapping[str, Any]) -> None:
    for key, value in data.items():
        if key == "loss":
            numbers["loss"].append([data["step"], value])
        elif key == "lr":
            numbers["rates"].append([data["step"], value])
        elif key.startswith("validation_"):
            numbers["validation"]["of"] = key.removeprefix("validation_")
            numbers["validation"]["looks"].append([data["step"], value])


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as blocks from the lowest to the highest, at most `width` of them: the mean of as many as share one."""
    cells = min(width, len(values))
    parts = [values[k * len(values) // cells : (k + 1) * len(values) // cells] for k in range(cells)]
    means = [sum(part) / len(part) for part in parts]
    low, span = min(means), max(means) - min(means)
    return "".join(_BLOCKS[round((mean - low) / span * (len(_BLOCKS) - 1)) if span else 0] for mean in means)


def show(found: Mapping[str, Any]) -> None:
    """Every training as a paragraph."""
    for name, training in found.items():
        numbers = training["numbers"]
        said = {}
        of = (numbers.get("validation") or {}).get("of", "loss")
        for kind, points in drawing.curves(numbers).items():
            values = [value for _, value in points]
            shown = kind if kind != "validation" else f"validation {of}"
            said[shown] = (
                f"{values[0]:<9.4g} {sparkline(values, max(_LEAST, console.width - _BESIDE))} {values[-1]:.4g}"
            )
        say(f"\n{name}")
        facts(said | drawing.told(numbers))
        for one in training["samples"]:
            answer = one["answer"].get("text", one["answer"]) if isinstance(one["answer"], dict) else one["answer"]
            say(f"at step {one['step']}: {one['input']} … {answer}")
