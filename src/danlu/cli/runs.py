"""`danlu runs`: what was run, how it ended, and what it said."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from danlu.cli.output import JsonOption, StoreOption, facts, print_json, say, table
from danlu.core.plugin import lazy

api = lazy("danlu.api")
records = lazy("danlu.core.runs")
course = lazy("danlu.cli.course")

app = typer.Typer(invoke_without_command=True)


@app.callback()
def list_runs(context: typer.Context, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the runs of a store, the newest first; `show` tells more of one.

    Example:  danlu runs
    """
    context.obj = (store, as_json)
    if context.invoked_subcommand:
        return
    place = api.locate(store)
    found = records.all_runs(place.runs)
    if as_json:
        print_json([_told(run) for run in found])
    elif not found:
        say(f"Nothing was run yet in {place.path}. `danlu run RECIPE` runs one.")
    else:
        rows = [(run.id, run.name, run.status, _seconds(run.record), _steps(run)) for run in found]
        table(["run", "recipe", "status", "seconds", "steps"], rows, right=["seconds"])


@app.command("show")
def show(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(help="A run's id, or the beginning of it.", metavar="ID")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run: its steps, what they made, how its trainings went, and what was said.

    Example:  danlu runs show 2026
    """
    outer_store, outer_json = context.obj
    place = api.locate(store or outer_store)
    run = records.find(place.runs, run_id)
    events = list(run.events())
    trained = course.trainings(run.steps, str(place.path), events)
    if as_json or outer_json:
        print_json(_told(run) | {"trainings": trained, "events": events})
        return
    command = " ".join([run.record["path"], *run.record["overrides"]])
    values = {"run": run.id, "recipe": run.name, "from": command, "status": run.status}
    facts(values | {"seconds": _seconds(run.record), "folder": run.path})
    say()
    table(["step", "stage", "status", "seconds", "key", "digest"], _rows(run, events), right=["seconds"])
    course.show(trained)
    said = [(e["step"], e["data"]["text"]) for e in events if e["kind"] in ("note", "warning")]
    if said:
        say()
        table(["step", "said"], said)
    if error := run.record.get("error"):
        say(f"\nerror {error.get('text') or error['what']}")


def _told(run: Any) -> dict[str, Any]:
    return {**run.record, "id": run.id, "status": run.status, "folder": str(run.path)}


def _rows(run: Any, events: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The steps in the order in which they were begun."""
    order = list(dict.fromkeys(event["step"] for event in events))
    known = {name: place for place, name in enumerate(order)}
    steps = sorted(run.steps.items(), key=lambda item: known.get(item[0], len(order)))
    return [(name, step["stage"], step["status"], _seconds(step), *_digests(step)) for name, step in steps]


def _digests(step: Any) -> tuple[str, ...]:
    return tuple(str(step.get(what) or "–")[:12] for what in ("key", "digest"))


def _seconds(record: Any) -> str:
    seconds = record.get("seconds")
    return "–" if seconds is None else f"{seconds:.1f}"


def _steps(run: Any) -> str:
    """`5 done, ship failed`: counts, and the names of those that did not end well."""
    ended = Counter(step["status"] for step in run.steps.values() if step["status"] in ("done", "reused"))
    others = [f"{name} {step['status']}" for name, step in run.steps.items() if step["status"] not in ended]
    return ", ".join([*(f"{count} {status}" for status, count in ended.items()), *others])
