"""`danlu data show`: what a data set holds, and the way of a row from the file to its split."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import JsonOption, StoreOption, facts, print_json, say, table
from danlu.core.errors import DataError, RecipeError
from danlu.core.plugin import lazy

api = lazy("danlu.api")
contracts = lazy("danlu.contracts")
tracing = lazy("danlu.blocks.tracing")
artifact = lazy("danlu.core.artifact")
history = lazy("danlu.training.seen")

SPLITS = ("train", "validation", "test")
_MOST_MOMENTS = 12


def show(
    name: Annotated[
        str, typer.Argument(help="A data set's key, or its beginning, or its folder; else the newest.", metavar="ID")
    ] = "",
    row: Annotated[int | None, typer.Option("--row", help="Follow this row, counted from 1.", min=1)] = None,
    split: Annotated[str, typer.Option("--split", help="Count the row within this split.")] = "",
    trained: Annotated[
        bool, typer.Option("--trained", help="Tell which steps of the trainings on this data set saw the row.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a data set: its splits, and what each operator did; or the way of one row from the file to its split.

    A row is counted as the source gives it; with --split, as it stands there.

    Example:  danlu data show --row 17
    """
    folder = _folder(name, store)
    data = tracing.opened(folder)
    if split and split not in SPLITS:
        raise RecipeError(f"there is no split {split!r}", do=f"one of {', '.join(SPLITS)}")
    if split and row is None:
        raise RecipeError("--split counts a row, and none is named", do="add --row 1")
    if trained and row is None:
        raise RecipeError("--trained tells of a row, and none is named", do="add --row 1")
    if row is None:
        _show_whole(data, as_json)
        return
    number = tracing.source_row(data, split, row) if split else row
    if number < 1:
        raise DataError(f"row {row} of {split} was made by an operator; it is no row of the source", where=str(folder))
    trace = tracing.trace(data, number, _source(data.info))
    told = _trained(data, folder, trace, store) if trained else []
    if as_json:
        print_json(asdict(trace) | ({"trained": [asdict(one) for one in told]} if trained else {}))
        return
    _show_row(trace, folder)
    for one in told:
        say(f"\ntrained by {one.step} ({one.key[:12]}), {one.steps:,} steps")
        moments = [f"epoch {m.epoch} step {m.step:,} batch {m.batch}" for m in one.moments]
        more = f" and {len(moments) - _MOST_MOMENTS:,} more" if len(moments) > _MOST_MOMENTS else ""
        say(f"  {one.note or ', '.join(moments[:_MOST_MOMENTS]) + more or 'it did not see the row'}")
    if trained and not told:
        say("\nNo training of this store saw it.")


def _trained(data: Any, folder: Path, trace: Any, store: Path | None) -> list[Any]:
    places = {place["place"] - 1 for place in trace.places if place["split"] == "train"}
    models = history.trainings(artifact.Artifact.read(folder), api.locate(store).artifacts()) if places else []
    return [history.seen(model, data, places) for model in models]


def _show_row(trace: Any, folder: Path) -> None:
    facts({"row": f"{trace.row:,}", "from": trace.origin, "data set": folder})
    say()
    steps = [(step["step"], step["what"], step["why"]) for step in trace.steps]
    if steps:
        table(["operator", "what", "why"], steps)
    else:
        say("No operator changed it.")
    for place in trace.places:
        say(f"\n{place['split']}, row {place['place']:,}")
        facts({f"  {column}": value for column, value in place["values"].items()})
    if not trace.places:
        say("\nIt is in no split.")


def _folder(name: str, store: Path | None) -> Path:
    if name and Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    place = api.locate(store)
    if name:
        found: Path = place.open(name).path
        return found
    made = [one for one in place.artifacts() if one.kind == "dataset"]
    if not made:
        raise DataError("there is no data set yet", where=str(place.path), do="danlu run RECIPE makes one")
    newest: Path = made[-1].path
    return newest


def _source(info: Any) -> Any:
    plain = {key: value for key, value in info["source"].items() if key != "fingerprint"}
    return contracts.Source.choose(plain)


def _show_whole(data: Any, as_json: bool) -> None:
    info = data.info
    if as_json:
        print_json(dict(info))
        return
    rows = {split: f"{info['rows'][split]:,} rows, {info['digests'][split][:12]}" for split in SPLITS}
    read = f"{sum(info['sizes'].values()):,} rows"
    facts({"data set": data.folder, "digest": info["digest"], "read": read} | rows)
    say()
    told = [
        (
            step["name"], f"{step['rows_in']:,}", f"{step['rows_out']:,}", f"{step['changed']:,}",
            ", ".join(f"{rule} {count:,}" for rule, count in step.get("by", {}).items()),
        )
        for step in info["operators"]
    ]  # fmt: skip
    table(["operator", "rows in", "out", "changed", "for"], told, right=["rows in", "out", "changed"])
