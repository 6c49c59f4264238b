"""LibreOffice's help in English, section by section, as Debian packages it."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

_PART = re.compile(r'<(p|h\d) id="(?:par|hd)_\w+"[^>]*>(.*?)</\1>', re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_TITLE, _TEXT = (1, 12), (15, 200)
_OFTEN = 5
"""A heading over more sections than this (`Syntax`, `Example`) tells what kind they are, not what they say."""


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns text, title and page: a row a heading, with the paragraphs below it up to the next one.

    Kept are headings of at most 12 words, over at most 5 different sections, of 15 to 200 words; each section once,
    since many stand in several pages.
    """
    home = folder / "en-US" / "text"
    rows: dict[str, tuple[str, str]] = {}
    for file in sorted(home.rglob("*.html")):
        page = file.relative_to(home).as_posix()
        for title, text in _sections(file.read_text("utf-8")):
            if _within(title, _TITLE) and _within(text, _TEXT):
                rows.setdefault(text, (title, page))
    often = Counter(title for title, _ in rows.values())
    kept = [(text, title, page) for text, (title, page) in rows.items() if often[title] <= _OFTEN]
    return pa.table({name: [row[k] for row in kept] for k, name in enumerate(("text", "title", "page"))})


def _within(text: str, words: tuple[int, int]) -> bool:
    return words[0] <= len(text.split()) <= words[1]


def _sections(page: str) -> Iterator[tuple[str, str]]:
    """A heading and all that is said below it, in the order of the page."""
    title, said = "", list[str]()
    for tag, content in _PART.findall(page):
        text = " ".join(html.unescape(_TAG.sub("", content)).split())
        if tag == "p":
            said += [text] if text else []
            continue
        yield title, " ".join(said)
        title, said = text, []
    yield title, " ".join(said)
