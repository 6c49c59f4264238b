"""What a backbone learns from before it is trained: its tokens, its vocabulary, its scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from danlu.blocks.dataset import DataSet
from danlu.contracts import Backbone
from danlu.core.events import Events

_LOOK = 1000
_TOLD = 1000


def material(data: DataSet, backbone: Backbone, events: Events) -> Iterator[Any]:
    """The inputs of the training rows; of texts that are more than `Backbone.enough` one in so many, evenly spread.

    What is taken is a function of the rows alone. Where texts may be too many it tells how far it is, and the share.
    """
    rows, task = data.info["rows"]["train"], data.task
    if backbone.enough is None:
        yield from (task.material(row) for row in data.each("train"))
        return
    every = _every(islice((task.material(row) for row in data.each("train")), _LOOK), rows, backbone.enough)
    if every > 1:
        events.note(
            f"{backbone.name} learns its tokens from one in {every:,} of {rows:,} training texts, evenly spread"
        )
    for place, row in enumerate(data.each("train")):
        if place % _TOLD == 0:
            events.progress("reading texts for the tokens", place, rows, "rows")
        if place % every == 0:
            yield task.material(row)
    events.progress("reading texts for the tokens", rows, rows, "rows")


def _every(first: Iterator[Any], rows: int, enough: int) -> int:
    """One in how many rows is taken, by the mean size of the first."""
    sizes = [_characters(x) for x in first]
    return max(1, math.ceil(sum(sizes) / max(len(sizes), 1) * rows / enough))


def _characters(x: Any) -> int:
    if isinstance(x, str):
        return len(x)
    if isinstance(x, Mapping):
        return sum(map(_characters, x.values()))
    return sum(map(_characters, x)) if isinstance(x, list | tuple) else 0
