"""`danlu data check`: what is wrong with data, before it is prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import ImportOption, JsonOption, StoreOption, print_json
from danlu.core import plugin
from danlu.core.errors import GateError, MachineError, RecipeError
from danlu.core.events import Events
from danlu.core.files import write_atomic
from danlu.core.plugin import lazy

api = lazy("danlu.api")
data_check = lazy("danlu.data_check")
data_page = lazy("danlu.blocks.report.data_page")
told = lazy("danlu.cli.findings")

_GATES = {"stop": ("stop",), "warn": ("stop", "warn")}


def check(
    data: Annotated[
        str,
        typer.Argument(
            help="A file, folder, pattern or URL, `asset:name`, or a recipe.", metavar="DATA", show_default=False
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes of a recipe.", metavar="[OVERRIDE]...", show_default=False)
    ] = None,
    against: Annotated[
        str, typer.Option("--against", help="A file that will be measured on: its rows must not be among these.")
    ] = "",
    rows: Annotated[str, typer.Option("--rows", help="How many rows are looked at, or `all`.")] = "200000",
    html: Annotated[
        Path | None, typer.Option("--html", help="Where the page goes; else into the store, or this folder.")
    ] = None,
    fail_if: Annotated[
        str, typer.Option("--fail-if", help="Exit with 5 on a `stop`, or on a `warn` too.", metavar="stop|warn")
    ] = "",
    imports: ImportOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check data before a run: duplicates, leaks, wrong labels, personal data and more, with what mends each.

    Example:  danlu data check reviews.csv --against test.csv
    """
    if fail_if not in ("", *_GATES):
        raise RecipeError(f"{fail_if!r} is no gravity", where="--fail-if", do="--fail-if stop, or --fail-if warn")
    page = _page(html, data, store)
    most, watched = _rows(rows), plugin.load("trackers", "console")()
    events = Events([watched.on], "check")
    try:
        events.emit("step_started")
        found = data_check.check(
            data,
            overrides or [],
            against=against,
            rows=most,
            imports=imports or [],
            versions=api.published(store, Path(data)),
            events=events,
        )
    finally:
        watched.close()
    write_atomic(page, data_page.data_page(found))
    if as_json:
        print_json(found | {"html": str(page)})
    else:
        told.print_findings(found, page)
    hit = sum(not f["mended"] for f in found["findings"] if f["severity"] in _GATES.get(fail_if, ()))
    if hit:
        what = f"{data}: {hit} findings of the gravity {fail_if} or more"
        raise GateError(what, do="mend the data, or let the recipe's operators do it")


def _rows(given: str) -> int | None:
    if given == "all":
        return None
    if not given.replace("_", "").isdigit() or int(given) < 1:
        raise RecipeError(f"{given!r} is no number of rows", where="--rows", do="--rows 200000, or --rows all")
    return int(given)


def _page(given: Path | None, data: str, store: Path | None) -> Path:
    """Where the page goes. A file that is not such a page is never overwritten."""
    name = f"{Path(data).name.removeprefix('asset:').strip('*?[].') or 'data'}-check.html"
    place = api.locate(store).path
    page = given or (place / "checks" / name if place.is_dir() else Path(name))
    if page.is_file() and data_page.GENERATOR not in page.read_text("utf-8", errors="replace")[:2000]:
        raise RecipeError("there is a file already, and it is no such report", where=str(page), do="--html OTHER.html")
    if page.is_dir():
        raise RecipeError("this is a folder, and the report is a file", where=str(page), do=f"--html {page / name}")
    if given is None and place.is_dir():
        page.parent.mkdir(exist_ok=True)
    if not page.parent.is_dir():
        raise MachineError("there is no such folder", where=str(page.parent), do="make it first")
    return page
