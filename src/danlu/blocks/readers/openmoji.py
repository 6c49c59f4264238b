"""OpenMoji: drawings with words for each (Hochschule für Gestaltung Schwäbisch Gmünd, CC BY-SA 4.0)."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from danlu.blocks.pictures import picture_column
from danlu.blocks.svg import draw

_SIDE = 64


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns image (64×64, on white), text (what it is called, and its tags), name, group, and base.

    `base` is the same for one drawing in all its colours of skin: cut by it, and none lies in two splits.
    """
    told = json.loads((folder / "openmoji.json").read_text("utf-8"))
    columns = {
        "text": [_words(one) for one in told],
        "name": [one["annotation"] for one in told],
        "group": [one["group"] for one in told],
        "base": [one["skintone_base_hexcode"] or one["hexcode"] for one in told],
    }
    drawn = (draw((folder / f"{one['hexcode']}.svg").read_bytes(), _SIDE) for one in told)
    return pa.table({"image": picture_column(drawn), **columns})


def _words(one: dict[str, str]) -> str:
    """The name, and the tags that it does not hold already."""
    tags = dict.fromkeys(tag.strip() for tag in f"{one['tags']},{one['openmoji_tags']}".split(",") if tag.strip())
    return ", ".join([one["annotation"], *(tag for tag in tags if tag not in one["annotation"].split())])
