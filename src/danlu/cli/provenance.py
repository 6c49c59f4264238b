"""`danlu lineage`: where a version came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import JsonOption, StoreOption, note, print_json, say
from danlu.cli.registry import VersionArgument, open_registry
from danlu.core.plugin import lazy

drawing = lazy("danlu.registry.drawing")
files = lazy("danlu.core.files")
history = lazy("danlu.registry.lineage")
telling = lazy("danlu.registry.telling")


def lineage(
    name: VersionArgument,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw it into this file too.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a version was made from, back to the source of its data: settings, keys and digests.

    It is told from the manifests stored with the version, also when the artifacts were cleaned away. Settings that
    have their default are left out of the tree; --json has everything.

    Example:  danlu lineage review-sentiment@2
    """
    version = open_registry(store).resolve(name)
    if svg:
        files.make_dirs(svg.absolute().parent)
        files.write_atomic(svg.absolute(), drawing.svg(version))
        note(f"drew {svg}")
    if as_json:
        print_json(history.lineage(version))
        return
    for line in telling.tree(version):
        say(line)
