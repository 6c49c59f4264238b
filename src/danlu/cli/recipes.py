"""`danlu new`, `check`, `plan` and `run`: recipes."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import ImportOption, JsonOption, StoreOption, print_json, say, table
from danlu.core import launch
from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

api = lazy("danlu.api")
document = lazy("danlu.core.document")
drafts = lazy("danlu.draft")
sharing = lazy("danlu.core.sharing")

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe file.", metavar="RECIPE", show_default=False)]
OverrideArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Such as `tuned.epochs=3` or `name=mine`.", metavar="[OVERRIDE]...", show_default=False),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option("--track", help="One more tracker, such as `jsonl` or `{jsonl: events.jsonl}`; may be repeated."),
]

StepsOption = Annotated[
    str, typer.Option("--steps", help="Only these steps and those they rest on, such as `data` or `full,lora`.")
]

NprocOption = Annotated[int, typer.Option("--nproc", min=1, help="For a run in so many processes of this machine.")]
ShardOption = Annotated[bool, typer.Option("--shard", help="For a run with `--shard`; goes with `--nproc`.")]


def new(
    data: Annotated[Path, typer.Option("--data", help="A CSV or TSV file with a header line.", show_default=False)],
    to: Annotated[Path | None, typer.Option("--to", help="Where to write; else beside the data.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draft a recipe for your own data: sniff the columns, say what was found and why, write it beside the data.

    Example:  danlu new --data reviews.csv
    """
    target = to or data.with_suffix(".yaml")
    made = drafts.draft(data, target)
    drafts.write(made, target)
    if as_json:
        print_json({"recipe": str(target), "name": made.name, "reasons": list(made.reasons), "text": made.text})
        return
    for reason in made.reasons:
        what, _, why = reason.partition(": ")
        say(f"{what:<10} {why}")
    say(f"\nwrote {target}\nnext:  danlu run {shlex.quote(str(target))}")


def check(
    recipe: RecipeArgument,
    overrides: OverrideArgument = None,
    store: StoreOption = None,
    imports: ImportOption = None,
    nproc: NprocOption = 1,
    shard: ShardOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a recipe without running it: all faults at once, each with its place and its mend.

    Example:  danlu check my.yaml tuned.method=lora
    """
    _check_shard(shard, nproc)
    checked = api.check(recipe, *overrides or [], imports=imports or [], store=store, ranks=sharing.Ranks(nproc, shard))
    if as_json:
        print_json({"ok": True, "name": checked.name, "steps": {s.name: s.stage.name for s in checked.steps}})
        return
    say(f"{checked.name}: {len(checked.steps)} steps, nothing wrong: " + " → ".join(s.name for s in checked.steps))


def plan(
    recipe: RecipeArgument,
    overrides: OverrideArgument = None,
    steps: StepsOption = "",
    store: StoreOption = None,
    imports: ImportOption = None,
    nproc: NprocOption = 1,
    shard: ShardOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do: which steps are reused, which run, which are refused since a file was changed.

    Example:  danlu plan my.yaml
    """
    _check_shard(shard, nproc)
    checked = api.check(recipe, *overrides or [], imports=imports or [], store=store)
    place = api.locate(store, checked.path)
    planned = checked.plan().only(_names(steps))
    api.check_ranks(planned, place, sharing.Ranks(nproc, shard))
    previews = planned.preview(place)
    if as_json:
        told = {
            p.step.name: {
                "stage": p.step.stage.name,
                "status": p.status,
                "key": p.key,
                "fault": p.fault and p.fault.what,
            }
            for p in previews
        }
        print_json({"name": checked.name, "store": str(place.path), "steps": told})
        return
    rows = [(p.step.name, p.step.stage.name, _from(p.step), p.key[:12] or "–", _status(p)) for p in previews]
    table(["step", "stage", "takes", "key", "what happens"], rows)
    for fault in filter(None, (p.fault for p in previews)):
        say(f"\n{fault}")
    say(f"\nstore: {place.path}")


def _check_shard(shard: bool, ranks: int) -> None:
    if shard and ranks == 1:
        what = "--shard shares a model among processes, and this is one"
        raise RecipeError(what, where="--shard", do="--nproc 2, or leave --shard out")


def _names(steps: str) -> list[str]:
    return [step.strip() for step in steps.split(",") if step.strip()]


def _from(step: Any) -> str:
    return ", ".join(dict.fromkeys(step.inputs.values())) or "–"


def _status(preview: Any) -> str:
    if preview.status == "unknown":
        return f"runs, unless {', '.join(preview.waits_for)} come out as before"
    if preview.fault:
        return f"refused: {preview.fault.what}"
    return "runs" if preview.status == "will run" else "reused"


def run(
    recipe: RecipeArgument,
    overrides: OverrideArgument = None,
    steps: StepsOption = "",
    store: StoreOption = None,
    imports: ImportOption = None,
    track: TrackOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only warnings and the result.")] = False,
    nproc: Annotated[int, typer.Option(min=1, help="Train in so many processes of this machine.")] = 1,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds after which a process that does not come along is said to hang.")
    ] = launch.TIMEOUT,
    restarts: Annotated[
        int, typer.Option(min=0, help="How often the processes start again after one was killed.")
    ] = launch.RESTARTS,
    shard: Annotated[
        bool, typer.Option("--shard", help="Each process holds its share of weights, gradients and optimizer alone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe. What is there already is reused, a killed run goes on where it stopped.

    Example:  danlu run recipes/review_sentiment.yaml tuned.epochs=3
    """
    place = launch.Place.here()
    _check_shard(shard, place.world if place else nproc)
    if shard:
        os.environ[launch.SHARD_ENV] = "1"
    if nproc > 1 and place is None:
        checked = api.check(recipe, *overrides or [], imports=imports or [], store=store)
        planned = checked.plan().only(_names(steps))
        api.check_ranks(planned, api.locate(store, checked.path), sharing.Ranks(nproc, shard))
        lists = {"--import": imports, "--track": track}
        given = [str(word) for flag, values in lists.items() for value in values or [] for word in (flag, value)]
        given += ["--steps", steps] if steps else []
        given += ["--store", str(store)] if store else []
        given += ["--quiet"] * quiet + ["--json"] * as_json
        raise typer.Exit(launch.start(["run", *given, "--", str(recipe), *(overrides or [])], nproc, timeout, restarts))
    trackers = [{"console": {"quiet": quiet}}, *(document.parse(text, "--track") for text in track or [])]
    chosen = {"steps": _names(steps), "store": store, "imports": imports or [], "trackers": trackers}
    done = api.run(recipe, *overrides or [], **chosen)
    if place and place.rank:
        return
    if as_json:
        print_json(_told(done))
        return
    rows = done.table()
    if rows:
        _print_table(rows)
    for warning in done.warnings:
        say(f"! {warning}")
    _print_next(done)


def _told(done: Any) -> dict[str, Any]:
    return {
        "name": done.name,
        "version": done.version,
        "report": done.report,
        "explanations": done.explanations,
        "store": done.store.path,
        "reused": done.reused,
        "steps": {step: {"kind": a.kind, "key": a.key, "digest": a.digest} for step, a in done.artifacts.items()},
        "table": done.table(),
        "warnings": done.warnings,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    metrics = api.summary.shown(rows)
    columns, lines = api.summary.columns(metrics), [api.summary.cells(row, metrics) for row in rows]
    styles = ["bold" if row["default"] else "dim" if row["baseline"] else "" for row in rows]
    title = "\nEvery form of the model, and the baselines, on the same frozen test rows (95 % intervals)"
    table(columns, lines, title=title, right=columns[1:], styles=styles)
    say()


def _print_next(done: Any) -> None:
    if done.report:
        say(f"report   {done.report}")
    if done.explanations:
        say(f"why      {done.explanations}")
    if not done.report and not done.version:
        made = list(done.artifacts.values())[-1]
        say(f"result   {made.kind} of {made.manifest['step']}: {made.path}")
    if done.version:
        name = done.asked_as
        elsewhere = "" if api.locate(None).path == done.store.path else f" --store {shlex.quote(str(done.store.path))}"
        say(f"version  {done.version}")
        say(f'next:    danlu predict {name} "…"{elsewhere}   or   danlu versions {name} --card{elsewhere}')
