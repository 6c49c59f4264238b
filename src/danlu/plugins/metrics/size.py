"""Size on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from danlu.blocks.judging import size_mb
from danlu.contracts import Answer, Metric


class Size(Metric):
    """Megabytes (10⁶ bytes) of all files that a form needs to answer: weights, processor, settings."""

    better: ClassVar[Literal["higher", "lower"]] = "lower"
    of: ClassVar[Literal["answers", "form"]] = "form"
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def measure(
        self, ask: Callable[[Sequence[Any]], list[Answer]], inputs: Sequence[Any], folder: Path | None
    ) -> dict[str, float]:
        """`{value}`; empty for a form that has no files of its own."""
        if folder is None:
            return {}
        return {"value": size_mb(folder)}
