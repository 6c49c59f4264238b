"""The plain structure of a model whose method keeps its parts in a file of their own: made where something needs it.

An adapter alone is stored, beside the frozen weights it stands on; what goes on from it, joins it or exports it takes
these, in memory or in a folder that is thrown away.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from danlu import bundle
from danlu.contracts import Backbone, Method, Processor, Task


def merges(folder: Path) -> bool:
    """Whether a bundle has parts of a method beside its weights, all of which can go into them."""
    return bool(_parts(folder)) and all(part and type(part).merge is not Method.merge for part in _parts(folder))


def load(folder: Path) -> tuple[nn.Module, Backbone, Task, Processor]:
    """As `bundle.load_module`, with the parts in the weights where they can go there. Raises as that does."""
    module, backbone, task, processor = bundle.load_module(folder)
    if merges(folder):
        for part in reversed(_parts(folder)):
            assert part is not None
            module = part.merge(module)
    return module.eval(), backbone, task, processor


def plain(folder: Path, place: Path) -> Path:
    """The bundle itself where nothing is to be merged, else a merged one in `place`, which is written if need be."""
    if not merges(folder):
        return folder
    if not place.is_dir():  # a bundle is written whole or not at all
        module, backbone, task, processor = load(folder)
        bundle.save(place, backbone=backbone, task=task, processor=processor, module=module)
    return place


def _parts(folder: Path) -> list[Method | None]:
    """The methods among the parts, as they were; None for a compressor."""
    described = bundle.describe(folder).parts
    return [Method.choose({p.name: p.settings}) if p.family == "methods" else None for p in described]
