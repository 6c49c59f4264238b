"""Whether a piece of SQL only reads: one SELECT, or WITH … SELECT. The database itself is told to allow no more."""

from __future__ import annotations

import re

from danlu.core.errors import RecipeError

_PASSED_OVER = re.compile(
    r"""
    --[^\n]*                            # a comment to the end of the line
    | /\*.*?(?:\*/|\Z)                  # a comment
    | '(?:[^']|'')*'?                   # a text
    | "(?:[^"]|"")*"? | `[^`]*`? | \[[^\]]*\]?  # a name
    | \$([A-Za-z_]*)\$.*?(?:\$\1\$|\Z)  # a text of PostgreSQL
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[a-z_][a-z_0-9$]*|;")
_WRITES = {
    "insert", "update", "delete", "merge", "truncate", "drop", "create", "alter", "grant", "revoke", "copy", "call",
    "exec", "execute", "attach", "pragma", "vacuum", "into", "lock",
}  # fmt: skip
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)


def check_select(query: str) -> str:
    """The query without the semicolon at its end. Raises RecipeError when it is anything but one SELECT.

    A word that writes is refused wherever it stands outside of texts, comments and quoted names.
    """
    if "/*!" in query or "/*M!" in query or "\\'" in query:  # MySQL runs such comments; a quote after \ ends no text
        raise RecipeError("a query holds neither /*! nor \\'", do="write a quote in a text twice: ''")
    bare = _PASSED_OVER.sub(" ", query).strip().rstrip(";").lower()
    words = _WORD.findall(bare)
    do = "write one SELECT, or WITH … SELECT; put a column of such a name in quotes"
    if not words or words[0] not in ("select", "with"):
        first = words[0].upper() if words else "nothing"
        raise RecipeError(f"a query must begin with SELECT or WITH, not {first}", do=do)
    if ";" in words:
        raise RecipeError("a query is one statement, and here are several", do=do)
    if odd := next((word for word in words if word in _WRITES), ""):
        raise RecipeError(f"a query only reads, and {odd.upper()} does not", do=do)
    return query.strip().rstrip(";")


def is_ordered(query: str) -> bool:
    """Whether the query says anywhere in what order its rows come."""
    return bool(_ORDERED.search(_PASSED_OVER.sub(" ", query)))
