"""`danlu compare`: two versions on the same rows, or the models of runs side by side."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import JsonOption, StoreOption, note, notes, print_json, say, table
from danlu.core.errors import GateError, MachineError, RecipeError
from danlu.core.events import Events
from danlu.core.plugin import lazy

api = lazy("danlu.api")
machine = lazy("danlu.core.machine")
comparison = lazy("danlu.registry.comparison")
disturbed = lazy("danlu.blocks.disturbed")
files = lazy("danlu.core.files")
page = lazy("danlu.blocks.report.compare_page")
runs = lazy("danlu.core.runs")
side_by_side = lazy("danlu.registry.side_by_side")

UnderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--under",
        help="Judge them also on inputs changed by this augmentation, such as `typos` or `{eda: {rate: 0.2}}`; may be "
        "repeated.",
    ),
]
_LONGEST = 60
_RUN = re.compile(r"\d+(-\d*(-[0-9a-f]*)?)?")


class Split(StrEnum):
    """What `--on` takes."""

    TEST = "test"
    VALIDATION = "validation"


def compare(
    given: Annotated[
        list[str],
        typer.Argument(
            help="Two versions (`name@1`); or what holds models: runs (ids, as `danlu runs` lists them), a recipe, "
            "which is run first, with overrides such as `lora.epochs=2`; or any of these together.",
            metavar="MODELS...",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data", help="Of two versions: rows to ask, a data file or a data set of the store; else the second's."
        ),
    ] = "",
    latency: Annotated[
        bool, typer.Option("--latency", help="Time the answers too; compare on a quiet machine.")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            help="Of two versions: exit with 5 if this is so: `worse`, or `accuracy < -0.01`; may be repeated.",
        ),
    ] = None,
    steps: Annotated[str, typer.Option("--steps", help="Only the models of these steps, such as `full,lora`.")] = "",
    against: Annotated[str, typer.Option("--against", help="What differences are to; else the first model.")] = "",
    on: Annotated[Split, typer.Option("--on", help="The rows that judge models side by side.")] = Split.TEST,
    under: UnderOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the table with pictures to this file.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions on the same rows, or the models of runs side by side: quality, what was trained, costs.

    Of two versions it tells metrics with paired 95 % intervals, answers gained and lost, and what changed; differences
    are the second minus the first, and rows that either was trained on are left out. Models side by side are told with
    quality, trained weights, time, memory and size; differences are paired where two are judged on the same rows.

    Example:  danlu compare 20261122-1730 --steps full,lora
    """
    machine.tune_threads_env()
    place = api.locate(store)
    plainly = not (steps or against or html or under) and on is Split.TEST
    if plainly and [_kind(one) for one in given] == ["version", "version"]:
        _two(given[0], given[1], place, data=data, latency=latency, fail_if=fail_if or [], as_json=as_json)
        return
    if data or fail_if:
        flag = "--data" if data else "--fail-if"
        raise RecipeError(f"{flag} is for two versions", do=f"leave {flag} out, or name two versions alone")
    if html:
        _check_page(html)
    changes = [disturbed.choose(one, "--under") for one in under or []]
    found = _candidates(given, [step.strip() for step in steps.split(",") if step.strip()], against, place, store)
    with notes.status(f"asking {len(found)} models"):
        how = {"split": on.value, "against": against, "latency": latency, "under": changes}
        told = side_by_side.compare(found, **how, seed=0, events=Events.silent())
    _tell(told, html, as_json=as_json)


# ---- side by side ----------------------------------------------------------------------------------------------------


def _kind(given: str) -> str:
    if "=" in given:
        return "override"
    if Path(given).suffix in (".yaml", ".yml"):
        return "recipe"
    return "run" if _RUN.fullmatch(given) else "version"


def _check_page(path: Path) -> None:
    """Raise before any work for a folder, a file that is no page and would be lost, and where there is no folder."""
    if path.is_dir() or (path.exists() and b"<!doctype html>" not in path.read_bytes()[:1000].lower()):
        raise RecipeError("it is there and is no page", where=str(path), do="name another file for --html")
    if not path.absolute().parent.is_dir():
        raise MachineError("there is no such folder", where=str(path.absolute().parent), do="make it first")


def _candidates(given: list[str], steps: list[str], against: str, place: Any, store: Path | None) -> list[Any]:
    """Every model that is named, once."""
    if twice := next((one for one in given if given.count(one) > 1), ""):
        raise RecipeError(f"{twice} is named {given.count(twice)} times", do="name each model, run or recipe once")
    kinds = {one: _kind(one) for one in given}
    overrides = [one for one, kind in kinds.items() if kind == "override"]
    recipes = [one for one, kind in kinds.items() if kind == "recipe"]
    if overrides and not recipes:
        raise RecipeError(f"{overrides[0]} overrides a setting of a recipe, and none is named", do="name the recipe")
    several = len(given) - len(overrides) > 1
    found: list[Any] = []
    for one, kind in kinds.items():
        if kind == "recipe":
            planned = api.check(one, *overrides, store=store).plan().steps
            side_by_side.check_steps(planned, steps, None if several else against)
            done = api.run(one, *overrides, steps=steps, store=store)
            prefix = f"{_called(one, recipes)}:" if several else ""
            found += side_by_side.of_steps(done.artifacts, steps, done.store, prefix)
        elif kind == "run":
            run = runs.find(place.runs, one)
            found += side_by_side.of_run(run, steps, place, f"{run.id}:" if several else "")
        elif kind == "version":
            found.append(side_by_side.Candidate.of_version(one, place))
    return list({one.forms.path: one for one in found}.values())


def _called(recipe: str, recipes: list[str]) -> str:
    """A recipe by its file's name; by its whole path where another one has the same name."""
    stem = Path(recipe).stem
    return stem if [Path(one).stem for one in recipes].count(stem) == 1 else str(Path(recipe).with_suffix(""))


def _tell(told: dict[str, Any], html: Path | None, *, as_json: bool) -> None:
    if html:
        files.write_atomic(html, page.compare_page(told))
    if as_json:
        print_json(told)
        return
    _print_side_by_side(told)
    if html:
        say(f"\npage     {html}")


def _print_side_by_side(told: dict[str, Any]) -> None:
    metric, against = told["metric"], told["against"]
    rows = sorted({one["rows"] for one in told["models"]})
    say(f"{metric} on {' or '.join(f'{count:,}' for count in rows)} {told['on']} rows; differences are to {against}\n")
    columns = ["", f"{metric} (95 %)", "difference (95 %)", "trained", "share", "time", "memory", "own MB", "MB"]
    latency = any(one["latency_ms"] for one in told["models"])
    lines = [_line(one, metric, against, latency=latency) for one in told["models"]]
    columns += ["ms"] * latency
    table(columns, lines, right=columns[1:], styles=["bold" if o["name"] == against else "" for o in told["models"]])
    if any(one["differences"] is None for one in told["models"]):
        say(f"\n! a model without a difference is judged on other rows than {against}")
    if told["seeds"]:
        _print_seeds(told)
    for name, change in told["under"].items():
        say(f"\nunder {name}, which changed {change['changed']:,} of the rows\n")
        _print_under(told, name)


def _print_seeds(told: dict[str, Any]) -> None:
    """The means of trainings that differ in their seed alone, and how far the seeds lie apart."""
    metric, against = told["metric"], told["against"]
    say(f"\n{metric}, means of trainings that differ in their seed alone; intervals are those of other rows\n")
    lines = []
    for one in told["seeds"]:
        name, values = one["models"][0], one["values"][metric]
        gap = (one["differences"] or {}).get(metric)
        itself = against if against in one["models"] else ""
        quality = _quality(against if itself else name, one["metrics"].get(metric), gap, against)
        apart = f"{min(values):.3f} to {max(values):.3f}" if len(values) > 1 and None not in values else "–"
        lines.append([", ".join(one["models"]), *quality, str(len(values)), apart])
    columns = ["", f"{metric} (95 %)", "difference (95 %)", "seeds", "least to greatest"]
    table(columns, lines, right=columns[1:])


def _print_under(told: dict[str, Any], name: str) -> None:
    """The table under a change of the inputs, and in words which models hold better under it."""
    metric, against = told["metric"], told["against"]
    lines, said = [], []
    for one in told["models"]:
        own = one["under"][name]
        gap = (own["differences"] or {}).get(metric)
        lines.append([one["name"], *_quality(one["name"], own["metrics"].get(metric), gap, against)])
        if gap and one["name"] != against:
            how = "no better" if gap["verdict"] == "no clear difference" else gap["verdict"]
            said.append(f"{one['name']} is {how} than {against} under {name}, as far as these rows can tell")
    columns = ["", f"{metric} (95 %)", "difference (95 %)"]
    table(columns, lines, right=columns[1:])
    say("")
    for sentence in said:
        say(sentence)


def _line(one: dict[str, Any], metric: str, against: str, *, latency: bool) -> list[str]:
    gap = (one["differences"] or {}).get(metric)
    quality, told = _quality(one["name"], one["metrics"].get(metric), gap, against)
    trained = "–" if one["trained_parameters"] is None else f"{one['trained_parameters']:,}"
    share = "–" if one["trained_share"] is None else f"{one['trained_share']:.2%}"
    costs = [
        _number(one["seconds"], " s"),
        _number(one["memory_mb"], " MB"),
        *map(_number, (one["own_mb"], one["size_mb"])),
    ]
    return [one["name"], quality, told, trained, share, *costs, *([_number(one["latency_ms"])] * latency)]


def _quality(name: str, score: dict[str, Any] | None, gap: dict[str, Any] | None, against: str) -> tuple[str, str]:
    """A score and its difference to that of `against`, each with its interval."""
    quality = "–" if score is None else f"{score['value']:.3f}"
    if score and score["low"] is not None:
        quality += f" ({score['low']:.3f} to {score['high']:.3f})"
    return quality, "–" if gap is None or name == against else _gap(gap, 3)


def _number(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}{unit}"


# ---- two versions ----------------------------------------------------------------------------------------------------


def _two(first: str, second: str, place: Any, *, data: str, latency: bool, fail_if: list[str], as_json: bool) -> None:
    sides = [comparison.Side.open(reference, place) for reference in (first, second)]
    rows = comparison.rows_of(data, sides[1], place) if data else comparison.test_rows(sides[1])
    with notes.status(f"asking both for {rows.table.num_rows:,} rows"):
        told = comparison.compare(*sides, rows, latency=latency, seed=0, events=Events.silent())
    missed = comparison.missed_gates(told, fail_if)
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


def _gap(gap: dict[str, Any], digits: int = 4) -> str:
    if gap["low"] is None:
        return f"{gap['value']:+.{digits}f}"
    return f"{gap['value']:+.{digits}f} ({gap['low']:+.{digits}f} to {gap['high']:+.{digits}f})"


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
