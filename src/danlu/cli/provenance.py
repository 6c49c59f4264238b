"""`danlu lineage` and `danlu reproduce`: where a version came from, and whether it comes out again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import JsonOption, StoreOption, note, print_json, say, table
from danlu.cli.registry import VersionArgument, open_registry
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

artifact = lazy("danlu.core.artifact")
drawing = lazy("danlu.registry.drawing")
events = lazy("danlu.core.events")
files = lazy("danlu.core.files")
history = lazy("danlu.registry.lineage")
machine = lazy("danlu.core.machine")
reproduction = lazy("danlu.registry.reproduction")
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
        _check_drawing(svg)
        files.make_dirs(svg.absolute().parent)
        files.write_atomic(svg.absolute(), drawing.svg(version))
        note(f"drew {svg}")
    if as_json:
        print_json(history.lineage(version))
        return
    for line in telling.tree(version):
        say(line)


def _check_drawing(path: Path) -> None:
    """Raise RecipeError for a folder, and for a file that is no drawing and would be lost."""
    if path.is_dir() or (path.exists() and b"<svg" not in path.read_bytes()[:1000]):
        raise RecipeError("it is there and is no drawing", where=str(path), do="name another file for --svg")


def reproduce(
    name: VersionArgument,
    to: Annotated[
        Path | None, typer.Option("--to", help="Make it in this new folder and leave it there; else it is removed.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version again from its recorded inputs and settings, and say whether the same bytes come out.

    Nothing of the first time is reused. Where something differs it tells which step first, what is not as it was (data,
    code, libraries, machine) and how far the answers moved, and ends with 5.

    Example:  danlu reproduce review-sentiment@2
    """
    machine.tune_threads_env()
    registry = open_registry(store)
    version = registry.resolve(name)
    opened = registry.open(version)
    with folder_for(to) as folder:
        console = [] if as_json else [plugin.load("trackers", "console")(quiet=True).on]
        told = reproduction.reproduce(
            version, opened, artifact.Store(folder), events.Events(console), registry.published
        )
    if as_json:
        print_json(told)
    else:
        _print_reproduced(told)
    if not told["same"]:
        raise typer.Exit(5)


@contextmanager
def folder_for(to: Path | None) -> Iterator[Path]:
    """The folder that a person named, which must not hold anything, or one that goes with the block."""
    if to:
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise RecipeError("it is not an empty folder", where=str(to), do="name a new one")
        yield to
        return
    with tempfile.TemporaryDirectory(prefix="danlu-") as folder:
        yield Path(folder)


def _print_reproduced(told: dict[str, Any]) -> None:
    renamed = told["but_for_the_writer"]
    for form, other in told["forms"].items():
        say(f"{form}: " + (f"differs in {', '.join(other)}" if other else "the same bytes"))
    if told["same"]:
        but = f", but for the version of Danlu in {len(renamed)} × bundle.json" if renamed else ""
        say(f"\n{told['reference']} came out again, byte for byte{but}")
        return
    if first := told["differs"]:
        say(f"\nthe first step that came out differently is {first['step']}: {', '.join(first['files'])}")
    if told["changed"]:
        say()
        table(["not as it was", "then", "now"], [(name, *map(str, pair)) for name, pair in told["changed"].items()])
    else:
        say("code, libraries, machine and data are as they were, so a step is not exact on this machine")
    if moved := told["answers"]:
        say(
            f"\nanswers of the form {moved['form']} to {moved['rows']:,} test rows: {moved['changed']} changed, "
            f"distance at most {moved['greatest']:.2g}, median {moved['median']:.2g}"
        )
