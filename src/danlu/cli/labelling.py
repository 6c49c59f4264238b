"""`danlu data label`: choose the rows worth a label, and read what a person filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import ImportOption, JsonOption, StoreOption, facts, print_json, say, table
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.core.plugin import lazy

api = lazy("danlu.api")
data_label = lazy("danlu.data_label")

_SHOWN = 5
_CUT = 80


def label(
    data: Annotated[
        str, typer.Argument(help="A file, pattern, URL, `asset:name`, or a folder of pictures.", metavar="DATA")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="`name`, `name@3` or a model's folder, whose doubts are asked for.")
    ] = "",
    count: Annotated[int, typer.Option("--count", help="How many rows.", min=1)] = 100,
    by: Annotated[
        str, typer.Option("--by", help="combined, uncertainty, entropy, margin or diversity.", metavar="STRATEGY")
    ] = "combined",
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")] = Path("todo.csv"),
    read: Annotated[Path | None, typer.Option("--read", help="Read this sheet, filled in, into --out.")] = None,
    labels: Annotated[
        str, typer.Option("--labels", help="The labels that --read takes, with commas; else the model's.")
    ] = "",
    partial: Annotated[bool, typer.Option("--partial", help="Of a sheet filled in half, take that half.")] = False,
    append: Annotated[bool, typer.Option("--append", help="Add what was read to --out, if it is there.")] = False,
    column: Annotated[str, typer.Option("--column", help="The column of the texts; else found.")] = "",
    gold: Annotated[str, typer.Option("--label", help="The column of the labels; else the model's, or label.")] = "",
    rows: Annotated[int, typer.Option("--rows", help="How many rows are looked at.", min=1)] = 20_000,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other rows.")] = 0,
    store: StoreOption = None,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the rows worth a person's label and write them as a CSV; with --read, take what was filled in.

    Without a model it takes rows that are unlike one another. No file is ever overwritten.

    Example:  danlu data label reviews.csv --model review-sentiment --count 50
    """
    loaded = api.load(model, store=store, imports=imports or []) if model else None
    if read is not None:
        known = [one.strip() for one in labels.split(",") if one.strip()]
        known = known or (list(loaded.predictor.task.labels) if loaded else [])
        _print_read(data_label.read(read, out, labels=known, partial=partial, append=append), as_json)
        return
    if not data:
        raise RecipeError("there is nothing to choose from", do="danlu data label DATA, or --read todo.csv --out FILE")
    if out.exists():
        raise RecipeError("there is a file already", where=str(out), do="--out another.csv")
    watched = plugin.load("trackers", "console")()
    events = Events([watched.on], "label")
    try:
        events.emit("step_started")
        found = data_label.choose(
            data, loaded, count=count, by=by, column=column, label=gold, rows=rows, seed=seed, events=events
        )
    finally:
        watched.close()
    data_label.write(out, found)
    _print_chosen(found | {"out": str(out)}, as_json)


def _print_chosen(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    told = [
        (one["row"], one["guess"], "" if one["confidence"] is None else f"{one['confidence']:.2f}", _cut(one["input"]))
        for one in found["picked"][:_SHOWN]
    ]
    table(["row", "guess", "confidence", found["column"]], told, right=["row", "confidence"])
    more = len(found["picked"]) - len(told)
    say(f"… and {more} more\n" if more else "")
    without = f", {found['without_answer']} rows have no answer" if found["without_answer"] else ""
    chosen = f"{len(found['picked'])} of {found['unlabelled']:,} rows without a label, by {found['by']}{without}"
    named = f" --labels {','.join(found['labels'])}" if found["labels"] else ""
    then = f"danlu data label --read {found['out']}{named} --out labelled.csv"
    facts({"chosen": chosen, "sheet": found["out"], "then": f"fill in the column {found['label']!r}, and {then}"})


def _print_read(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    each = ", ".join(f"{name} {count:,}" for name, count in told["labels"].items())
    left = f", {told['empty']} left empty" if told["empty"] else ""
    there = told["rows"] - told["added"]
    again = f", {there} were there already" if there else ""
    facts({"read": f"{told['rows']} rows ({each}){left}", "added": f"{told['added']} to {told['out']}{again}"})
    use = f"source={{csv: {told['out']}}}"
    say(f"\nA recipe reads it: {use}, with the columns {told['column']} and {told['label']}")


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CUT else f"{line[: _CUT - 1]}…"
