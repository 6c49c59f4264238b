"""How a command prints: a table for a person, or one JSON document with `--json`; notes go to standard error.

What is printed may come from data, so no markup and no control character in it is obeyed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from danlu.core.canonical import plain
from danlu.core.printable import STEERING, printable

_PLAIN_WIDTH = 120  # of output that goes to a file or a pipe, where no terminal tells its width
_GAP = 2
_LEAST = 24  # a last column of fewer characters is no longer read with ease

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="The store; else DANLU_STORE, else .danlu here or in the nearest parent folder.",
        show_default=False,
    ),
]
ImportOption = Annotated[
    list[Path] | None,
    typer.Option("--import", help="A Python file with plug-ins of your own; may be given several times."),
]


class _Console(Console):
    """A console that leaves it to `main` to end quietly when the reader of a pipe has gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(*, stderr: bool = False) -> Console:
    made = _Console(stderr=stderr, highlight=False)
    told = made.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return made if told else _Console(stderr=stderr, highlight=False, width=_PLAIN_WIDTH)


console = _console()
notes = _console(stderr=True)

# ---- JSON ------------------------------------------------------------------------------------------------------------

_held: list[TextIO] = []


@contextmanager
def holding_stdout() -> Iterator[None]:
    """Keep standard output for `print_json`: what a library prints there goes to standard error meanwhile."""
    _held.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _held.pop()


def print_json(data: Any) -> None:
    """One JSON document on standard output; NaN is null, and what JSON has no word for is told as text."""
    text = json.dumps(plain(data), ensure_ascii=False, indent=2, allow_nan=False)
    out = _held[-1] if _held else sys.stdout
    out.write(STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    out.flush()


# ---- text ------------------------------------------------------------------------------------------------------------


def say(text: str = "") -> None:
    """A line for the person, as it is."""
    console.print(_text(text), soft_wrap=True)


def piece(text: str) -> None:
    """A part of a line for the person, at once; what comes next goes on behind it."""
    console.print(_text(text), soft_wrap=True, end="")


def note(text: str, *, style: str = "", end: str = "\n") -> None:
    """A line on standard error."""
    notes.print(_text(text, style), soft_wrap=True, end=end)


def facts(values: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    names = [printable(name) for name in values]
    width = max(map(cell_len, names), default=0)
    for name, value in zip(names, values.values()):
        console.print(Text.assemble((name.ljust(width), "bold"), "  ", _text(value)), soft_wrap=True)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> None:
    """A plain table; where the terminal is too narrow for one, a paragraph for each row.

    `right` are the columns of numbers, `styles` those of the rows, if any.
    """
    columns = [printable(column) for column in columns]
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    styles = styles or [""] * len(cells)
    if title:
        console.print(_text(title, "bold"))
    if _fits(columns, cells):
        _print_table(columns, cells, right, styles)
    else:
        _print_paragraphs(columns, cells, styles)


def _text(value: Any, style: str = "") -> Text:
    return Text(printable(str(value)), style)


def _fits(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether all columns but the last fit whole, and the last as far as it can be read."""
    natural = [max(_width(cell) for cell in cells) for cells in zip(columns, *rows)]
    *others, last = natural
    return sum(others) + _GAP * len(others) + min(last, _LEAST) <= console.width


def _width(cell: str) -> int:
    return max((cell_len(line) for line in cell.split("\n")), default=0)


def _print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], styles: Sequence[str]
) -> None:
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for place, column in enumerate(columns, 1):
        last = place == len(columns)
        justify = "right" if column in right else "left"
        drawn.add_column(Text(column), justify=justify, no_wrap=not last, overflow="fold")  # type: ignore[arg-type]
    for cells, style in zip(rows, styles):
        drawn.add_row(*(Text(cell) for cell in cells), style=style)
    if console.is_terminal:
        console.print(drawn)
        return
    with console.capture() as captured:
        console.print(drawn)
    for line in captured.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)


def _print_paragraphs(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    width = max(cell_len(column) for column in columns[1:])
    for (first, *others), style in zip(rows, styles):
        console.print(Text(first, f"bold {style}"), soft_wrap=True)
        for column, cell in zip(columns[1:], others):
            if cell:
                console.print(Text(f"  {column.ljust(width)}  {cell}", style), soft_wrap=True)
