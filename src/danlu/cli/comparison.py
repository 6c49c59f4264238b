"""`danlu compare`: two versions beside each other, on the same rows."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from danlu.cli.output import JsonOption, StoreOption, note, notes, print_json, say, table
from danlu.core.errors import GateError
from danlu.core.events import Events
from danlu.core.plugin import lazy

api = lazy("danlu.api")
machine = lazy("danlu.core.machine")
comparison = lazy("danlu.registry.comparison")

_LONGEST = 60


def compare(
    first: Annotated[str, typer.Argument(help="The version to compare with: `name@1`.", metavar="FIRST")],
    second: Annotated[str, typer.Argument(help="The version in question: `name@2`.", metavar="SECOND")],
    data: Annotated[
        str,
        typer.Option("--data", help="Rows to ask: a data file, or a data set of the store; else SECOND's test rows."),
    ] = "",
    latency: Annotated[
        bool, typer.Option("--latency", help="Time the answers too; compare on a quiet machine.")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option("--fail-if", help="Exit with 5 if this is so: `worse`, or `accuracy < -0.01`; may be repeated."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions on the same rows: metrics with paired 95 % intervals, answers gained and lost, changes.

    Differences are SECOND minus FIRST. Rows that either was trained on are left out and counted.

    Example:  danlu compare review-sentiment@1 review-sentiment@2 --fail-if worse
    """
    machine.tune_threads_env()
    place = api.locate(store)
    sides = [comparison.Side.open(reference, place) for reference in (first, second)]
    rows = comparison.rows_of(data, sides[1], place) if data else comparison.test_rows(sides[1])
    with notes.status(f"asking both for {rows.table.num_rows:,} rows"):
        told = comparison.compare(*sides, rows, latency=latency, seed=0, events=Events.silent())
    missed = comparison.missed_gates(told, fail_if or [])
    if as_json:
        print_json(told | {"missed": missed})
    else:
        _print(told)
    if missed:
        gate = GateError(f"{second} against {first}: {'; '.join(missed)}", do=f"keep {first}, or train longer")
        note(f"error {gate}")
        raise typer.Exit(gate.exit_code)


def _print(told: dict[str, Any]) -> None:
    one, other = told["first"], told["second"]
    say(f"{other['reference']} (form {other['form']}) against {one['reference']} (form {one['form']})")
    _print_data(told["data"])
    say()
    table(["", one["reference"], other["reference"], "difference (95 %)", "verdict"], _rows(told))
    _print_answers(told)
    for kind, changed in told["changed"].items():
        say()
        if changed:
            lines = [(name, _value(before), _value(after)) for name, (before, after) in changed.items()]
            table([kind, one["reference"], other["reference"]], lines)
        else:
            say(f"{kind}: the same")


def _print_data(data: dict[str, Any]) -> None:
    say(f"{data['rows']:,} rows: {data['source']}")
    if not data["trained_on_the_same"]:
        say("! they were trained on different data")
    for reference, learnt in data["learnt"].items():
        if learnt is None:
            say(f"! the training rows of {reference} are gone, so nobody knows whether it has learnt some of these")
        elif learnt:
            say(f"! {learnt:,} rows were training rows of {reference}; they are left out")


def _rows(told: dict[str, Any]) -> list[tuple[str, ...]]:
    one, other = told["first"], told["second"]
    rows = [
        (name, *(f"{side['metrics'][name]['value']:.4f}" for side in (one, other)), _gap(gap), gap["verdict"])
        for name, gap in told["metrics"].items()
    ]
    costs = [("MB of the form", one["size_mb"], other["size_mb"])]
    costs += [
        (f"ms at batch {b}", ms, other["latency_ms"].get(b)) for b, ms in one["latency_ms"].items() if b.isdecimal()
    ]
    costs.append(("MB of all forms", one["version_mb"], other["version_mb"]))
    return rows + [(name, f"{a:.2f}", f"{b:.2f}", f"{b - a:+.2f}", "") for name, a, b in costs if a and b]


def _gap(gap: dict[str, Any]) -> str:
    if gap["low"] is None:
        return f"{gap['value']:+.4f}"
    return f"{gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"


def _print_answers(told: dict[str, Any]) -> None:
    if not told["mcnemar"]:
        return
    gained, lost, test = told["gained"], told["lost"], told["mcnemar"]
    p_values = f"McNemar p = {test['exact']:.3g} (mid-p {test['mid_p']:.3g})"
    say(f"\n{gained['rows']} rows gained, {lost['rows']} lost; {p_values}")
    for what, moved in (("gained", gained), ("lost", lost)):
        lines = [(one["gold"], one["before"], one["after"], one["input"]) for one in moved["examples"]]
        if lines:
            say()
            table([what, "before", "after", "input"], lines)


def _value(value: Any) -> str:
    text = "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
