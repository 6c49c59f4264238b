"""Several processors side by side, for a model made of models; without torch.

The arrays of a processor that several members share are made once, and all of them are asked with these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from danlu.bundle import Part, load_processor
from danlu.contracts import Backbone, Processor
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

_FILE = "ensemble.json"


class Processors:
    """The processors of an ensemble; the arrays of the k-th are called `<name>_<k>`.

    `kinds` are the backbones that each of them is of, `read` says which one each member reads by.
    """

    def __init__(self, parts: Sequence[Processor], kinds: Sequence[Part], read: Sequence[int]) -> None:
        self.parts, self.kinds, self.read = tuple(parts), tuple(kinds), tuple(read)

    @classmethod
    def of(cls, members: Sequence[tuple[Backbone, Processor]], like: Sequence[Any]) -> Self:
        """Those of the members; processors that give the same arrays for all of `like` become one."""
        parts: list[Processor] = []
        kinds, read = [], []
        for backbone, processor in members:
            same = [k for k, one in enumerate(parts) if same_arrays(one, processor, like)]
            if not same:
                parts.append(processor)
                kinds.append(Part(family="backbones", name=backbone.name, version=backbone.version, settings={}))
            read.append(same[0] if same else len(parts) - 1)
        return cls(parts, kinds, read)

    def of_member(self, k: int) -> Processor:
        """The processor that the k-th member reads by."""
        return self.parts[self.read[k]]

    @property
    def pad(self) -> Mapping[str, float]:
        return {f"{name}_{k}": fill for k, part in enumerate(self.parts) for name, fill in part.pad.items()}

    def inputs(self, x: Any, limit: int | None = None) -> dict[str, Any]:
        return {
            f"{name}_{k}": array for k, part in enumerate(self.parts) for name, array in part.inputs(x, limit).items()
        }

    def save(self, folder: Path) -> None:
        for k, part in enumerate(self.parts):
            path = folder / f"processor{k}"
            path.mkdir(exist_ok=True)
            part.save(path)
        plain = {"processors": [[kind.name, kind.version] for kind in self.kinds], "read": self.read}
        write_atomic(folder / _FILE, json.dumps(plain) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises DataError when the folder has none, or one that the backbones here can't read."""
        path = folder / _FILE
        try:
            plain = json.loads(path.read_text("utf-8"))
            read = [int(k) for k in plain["read"]]
            kinds = [
                Part(family="backbones", name=name, version=version, settings={})
                for name, version in plain["processors"]
            ]
            if not all(0 <= k < len(kinds) for k in read):
                raise ValueError("a member reads by a processor that is not there")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the list of members can't be read: {error}", where=str(path)) from error
        return cls([load_processor(kind, folder / f"processor{k}") for k, kind in enumerate(kinds)], kinds, read)


def same_arrays(one: Processor, other: Processor, like: Sequence[Any]) -> bool:
    """Whether two processors give the same arrays for all of these inputs."""
    if one is other:
        return True
    if type(one) is not type(other) or dict(one.pad) != dict(other.pad):
        return False
    for x in like:
        a, b = one.inputs(x), other.inputs(x)
        if a.keys() != b.keys() or not all(np.array_equal(a[name], b[name]) for name in a):
            return False
    return True
