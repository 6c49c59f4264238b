"""`danlu advise` and `danlu tune`: which training suits data and machine, told at once or found within a budget."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import ImportOption, JsonOption, StoreOption, note, notes, print_json, say, table
from danlu.cli.recipes import OverrideArgument, RecipeArgument
from danlu.core.plugin import lazy

api = lazy("danlu.api")

_COLUMNS = ("#", "quality (95 %)", "time", "memory", "size", "latency", "trained weights", "what")


def advise(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or a CSV or TSV file.", metavar="RECIPE")],
    overrides: OverrideArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Say in seconds which backbone and method suit data and machine, what they cost, and what may go wrong.

    Nothing is trained. Each line has its reason, and the override to paste.

    Example:  danlu advise my.yaml
    """
    told = api.advise(recipe, *overrides or [])
    if as_json:
        print_json(told)
        return
    data = told["data"]
    labels = f", {len(data['labels'])} labels" if data["labels"] else ""
    language = f", language {data['language']}" if data["language"] else ""
    say(f"{told['name']}: {data['rows']:,} rows, {data['task']}{labels}{language}\n")
    table(
        ["about", "advice", "override", "why"],
        [(a["about"], a["choice"], a["override"], a["why"]) for a in told["advice"]],
    )
    say()
    table(["risk", "what to do", "why"], [(r["what"], r["do"], r["why"]) for r in told["risks"]])


def tune(
    recipe: RecipeArgument,
    overrides: OverrideArgument = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="The budget, with all earlier sessions of this tune.")] = 20,
    trials: Annotated[int | None, typer.Option(min=1, help="Try so many candidates at most.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, help="Train so many candidates at once; by default what suits the cores and memory."
        ),
    ] = None,
    store: StoreOption = None,
    imports: ImportOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Try backbones, methods and settings within a budget, judged on the validation rows; write the winner's recipe.

    Simple baselines come first. The test rows are looked at once, for the winner. Ctrl-C or a kill loses nothing: the
    same command goes on.

    Example:  danlu tune my.yaml --minutes 20
    """
    status = nullcontext() if quiet else notes.status("reading the data")
    with status as shown:
        found = api.tune(
            recipe, *overrides or [], minutes=minutes, trials=trials, jobs=jobs, store=store,
            imports=imports or [],
            listeners=[] if quiet else [_Told(shown)],
        )  # fmt: skip
    if as_json:
        print_json(found.told)
        return
    told = found.told
    say()
    _print(told["trials"], told["metric"], told["best"])
    for text in told["left_out"]:
        say(f"left out: {text}")
    say()
    for text in told["recommendation"]:
        say(text)
    for warning in told["warnings"]:
        say(f"! {warning}")
    head = told["test"].get(told["metric"])
    if head:
        say(f"\non the test rows, looked at once: {told['metric']} {_spread(head)}")
    say(f"report   {found.report}\nrecipe   {found.recipe}\nnext:    danlu run {shlex.quote(str(found.recipe))}")


class _Told:
    """Tells the events of a tune as they come: a line a trial on standard error, and what is under way."""

    def __init__(self, status: Any) -> None:
        self._status = status

    def __call__(self, event: Any) -> None:
        data = event.data
        if event.kind == "progress" and data["what"] == "tune":
            left = max(0.0, data["total"] - data["done"])
            steps = f", step {data['step']:.0f} of {data['steps']:.0f}" if data["steps"] else ""
            self._status.update(f"{data['trial']}{steps}; {left / 60:.1f} minutes left")
        elif event.kind == "trial":
            score = next(iter(data["metrics"].items()), None)
            result = f"{score[0]} {_spread(score[1])}" if score else f"{data['state']}: {data['note']}"
            note(f"{data['number']:>3}  {data['what']}: {result}; {data['left'] / 60:.1f} minutes left")
        elif event.kind == "too_long":
            note(f"  –  {data['what']}: would take {data['seconds'] / 60:.1f} minutes; kept for a larger budget")
        elif event.kind == "first_table" and data["trials"]:
            _print(data["trials"], data["metric"], None)
            say()
        elif event.kind == "note":
            note(data["text"])


def _print(trials: Sequence[Mapping[str, Any]], metric: str, best: int | None) -> None:
    rows = [_row(one, metric) for one in trials]
    styles = [
        "bold" if one["number"] == best else "dim" if one["role"] == "baseline" or one["state"] != "done" else ""
        for one in trials
    ]
    table(_COLUMNS, rows, title=f"{metric} on the validation rows", right=_COLUMNS[:-1], styles=styles)


def _row(one: Mapping[str, Any], metric: str) -> list[str]:
    score = one["metrics"].get(metric)
    quality = _spread(score) if score else one["state"]
    costs = [
        _unit(one["seconds"], "s"), _unit(one["memory_mb"], "MB"), _unit(one["size_mb"], "MB"),
        _unit(one["latency_ms"], "ms"),
    ]  # fmt: skip
    weights = one["trained_parameters"]
    return [str(one["number"]), quality, *costs, "–" if weights is None else f"{weights:,}", one["what"]]


def _unit(value: float | None, name: str) -> str:
    return "–" if value is None else f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {name}"


def _spread(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "–"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
