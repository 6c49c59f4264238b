"""A data check in the terminal: what is gravest first, what mends it, what was looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.text import Text

from danlu.blocks.report.page import percent
from danlu.cli.output import console
from danlu.core.printable import printable

_STYLES = {"stop": "bold red", "warn": "bold yellow", "note": "bold cyan"}
_NAMES = {"stop": ("stop", "stops"), "warn": ("warning", "warnings"), "note": ("note", "notes")}
_EXAMPLES = {"stop": 4, "warn": 2, "note": 0}
_MOST_BARS = 6
_WIDEST = 110
_INDENT = 7


def print_findings(document: Mapping[str, Any], page: Path) -> None:
    """The whole check, on standard output."""
    _head(document)
    for finding in document["findings"]:
        _finding(finding)
    clean = [check["name"] for check in document["checks"] if not check["found"] and not check["skipped"]]
    skipped: dict[str, list[str]] = {}
    for check in document["checks"]:
        if check["skipped"]:
            skipped.setdefault(check["skipped"], []).append(check["name"])
    _line()
    if clean:
        _line(("nothing found  ", "bold green"), ", ".join(clean))
    for why, names in skipped.items():
        _line(("not looked     ", "bold dim"), f"{', '.join(names)}: {why}")
    if document["recipe"]:
        _line()
        _line(("What mends it, to be pasted into the prepare step (dropping a row is a decision):", "bold"))
        for line in document["recipe"]["yaml"].splitlines():
            _line(line, indent=2, whole=True)
        _line()
        _line("or behind `danlu run my.yaml`:")
        _line(document["recipe"]["override"], indent=2, whole=True)
    _line()
    _line(f"{document['seconds']:.1f} s; the report with all rows to look at:", whole=True)
    _line(str(page), whole=True)


def _head(document: Mapping[str, Any]) -> None:
    rows, looked = document["rows"], document["looked_at"]
    asked = f"; input {', '.join(document['input'])}" if document["input"] else ""
    truth = f", label {', '.join(document['truth'])}" if document["truth"] else ""
    _line((document["name"], "bold"), f"  {rows:,} rows, {_columns(document)}{asked}{truth}")
    if looked < rows:
        what = f"{looked:,} of the rows were looked at, spread over the whole: copies are undercounted (--rows all)"
        _line((what, "yellow"))
    tally = [(f"{n} {_NAMES[s][n != 1]}", _STYLES[s] if n else "dim") for s, n in document["counts"].items()]
    _line(tally[0], "  ", tally[1], "  ", tally[2])


def _columns(document: Mapping[str, Any]) -> str:
    count = len(document["columns"])
    return f"{count:,} column{'s' if count > 1 else ''}"


def _finding(finding: Mapping[str, Any]) -> None:
    severity = finding["severity"]
    share = f"  {percent(finding['share'])}" if finding["share"] and finding["count"] else ""
    _line()
    _line((severity.ljust(_INDENT), _STYLES[severity]), (finding["check"], "bold"), (share, "dim"))
    _line(finding["what"][:1].upper() + finding["what"][1:], indent=_INDENT)
    if severity != "note":
        _line((finding["why"], "dim"), indent=_INDENT)
    if finding["bars"]:
        _line(" · ".join(f"{name} ({rows:,})" for name, rows in finding["bars"][:_MOST_BARS]), indent=_INDENT)
    for example in finding["examples"][: _EXAMPLES[severity]]:
        _example(example)
    if finding["mended"]:
        _line(("the recipe mends this already", "green"), indent=_INDENT)
    elif finding["operators"]:
        _line(("mend   ", "green"), ", ".join(finding["operators"]), indent=_INDENT)
    if finding["do"] and severity != "note":
        _line(("do     ", "green"), finding["do"], indent=_INDENT)


def _example(example: Mapping[str, Any]) -> None:
    """One line of the row, cut to the width, and one of what there is to say of it."""
    row = f"row {example['row']:,}  " if example["row"] is not None else ""
    text = Text.assemble((row, "dim"), printable(example["text"]))
    text.truncate(_width() - _INDENT - 2, overflow="ellipsis")
    _print(text, _INDENT + 2)
    if example["told"]:
        _line((f"→ {example['told']}", "dim"), indent=_INDENT + 4)


def _line(*parts: str | tuple[str, str], indent: int = 0, whole: bool = False) -> None:
    """A paragraph, wrapped at words to the width; `whole`: one line however long, to be copied."""
    text = Text.assemble(*((printable(p), "") if isinstance(p, str) else (printable(p[0]), p[1]) for p in parts))
    if whole:
        console.print(Text.assemble(" " * indent, text), soft_wrap=True)
    else:
        _print(text, indent)


def _print(text: Text, indent: int) -> None:
    with console.capture() as captured:
        console.print(Padding(text, (0, 0, 0, indent), expand=False), width=_width())
    console.print(Text.from_ansi("\n".join(line.rstrip() for line in captured.get().splitlines())), soft_wrap=True)


def _width() -> int:
    return min(console.width, _WIDEST)
