"""Keep the text of HTML: no tags, scripts, styles or comments, and entities as the characters they stand for."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import ClassVar

import pyarrow as pa

from danlu.blocks.rewriting import each, rewrite
from danlu.contracts import Context, Counts, Operator

_MARKED = re.compile(r"</?[A-Za-z!?]|&#?\w+")
_HIDDEN = frozenset({"script", "style", "template", "noscript"})
_INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "kbd", "mark", "q", "s", "samp", "small"),
        *("span", "strong", "sub", "sup", "u", "var", "wbr"),
    }
)


class StripHtml(Operator):
    """Rewrites the text columns that the task asks about; a text without a tag or an entity is left as it is.

    An element that stands on its own (a paragraph, a cell, a line break) ends the line. `a < b` is no tag and stays.
    """

    by_row: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        return rewrite(table, names, each(text_of, where="[<&]"), option="strip_html.columns")


def text_of(html: str) -> str:
    """The text of a piece of HTML; lines without text are left out."""
    if not _MARKED.search(html):
        return html
    reader = _Reader(convert_charrefs=True)
    reader.feed(html)
    reader.close()
    return "\n".join(line for line in map(str.strip, "".join(reader.found).split("\n")) if line)


class _Reader(HTMLParser):
    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.found: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _HIDDEN:
            self._hidden.append(tag)
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag == self._hidden[-1]:
            self._hidden.pop()
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)

    def _break(self, tag: str) -> None:
        if tag not in _INLINE:
            self.found.append("\n")
