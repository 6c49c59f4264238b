"""LibreOffice's help in English and Chinese, paragraph by paragraph, as Debian packages it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

_PARAGRAPH = re.compile(r'<(p|h\d) id="((?:par|hd)_\w+)"[^>]*>(.*?)</\1>', re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_WORDS = (3, 60)


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns source (English) and target (simplified Chinese), 19,755 rows, a row a heading or a paragraph.

    Two paragraphs are a pair where file and id are equal. Kept are those of 3 to 60 English words whose Chinese holds
    a Chinese character (about a third of the help is not translated), each pair once.
    """
    english, chinese = (_paragraphs(folder / language / "text") for language in ("en-US", "zh-CN"))
    pairs = dict.fromkeys((english[place], chinese[place]) for place in english if place in chinese)
    kept = [pair for pair in pairs if _WORDS[0] <= len(pair[0].split()) <= _WORDS[1] and _CHINESE.search(pair[1])]
    return pa.table({"source": [pair[0] for pair in kept], "target": [pair[1] for pair in kept]})


def _paragraphs(folder: Path) -> dict[tuple[str, str], str]:
    """The text of every paragraph by its file and id; of two with one id, as in embedded pages, the first."""
    found: dict[tuple[str, str], str] = {}
    for file in sorted(folder.rglob("*.html")):
        for number, text in _texts(file.read_text("utf-8")):
            found.setdefault((file.relative_to(folder).as_posix(), number), text)
    return found


def _texts(page: str) -> Iterator[tuple[str, str]]:
    for _, number, content in _PARAGRAPH.findall(page):
        yield number, " ".join(html.unescape(_TAG.sub("", content)).split())
