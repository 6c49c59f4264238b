"""Check data before a run: a file, a folder, an asset, or what a recipe prepares; see `danlu.blocks.checkup`."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from danlu import recipe as recipes
from danlu.core import plugin
from danlu.core.errors import DanluError, DataError, RecipeError
from danlu.core.events import Events
from danlu.core.plan import Step
from danlu.core.plugin import lazy
from danlu.core.resolve import Versions
from danlu.core.settings import is_pattern, is_url

checkup = lazy("danlu.blocks.checkup")
columns_check = lazy("danlu.blocks.checkup.columns")
contracts = lazy("danlu.contracts")
delimited = lazy("danlu.blocks.delimited")
file_places = lazy("danlu.blocks.places")
numpy = lazy("numpy")
pyarrow = lazy("pyarrow")
sniffing = lazy("danlu.blocks.sniff")
spreading = lazy("danlu.blocks.spread")

MOST_ROWS = 200_000
"""Rows that are looked at where nobody says how many."""
_USUAL = ("normalize", "drop_empty", "drop_duplicates")
_LENIENT = {"on_error": "skip", "most_skipped": 1.0}
_RECIPES = (".yaml", ".yml")


@dataclass(frozen=True)
class _Data:
    """What is to be read: the source, and what a recipe says of the rows."""

    source: Any
    task: Any = None
    operators: Sequence[Mapping[str, Any]] = tuple({name: {}} for name in _USUAL)
    step: str = "data"
    recipe: str = ""
    shares: Mapping[str, float] | None = None
    limit: Any = None


def check(
    target: str,
    overrides: Sequence[str] = (),
    *,
    against: str = "",
    rows: int | None = MOST_ROWS,
    imports: Sequence[Path | str] = (),
    versions: Versions | None = None,
    events: Events | None = None,
) -> dict[str, Any]:
    """Everything that was found, as one JSON document; `target` is a file, a folder, `asset:name` or a recipe.

    `against` is a file of rows that will be measured on. Of more than `rows` rows (None: all) some are looked at,
    spread over the whole. `versions` is as `recipe.load` takes it. Raises DataError for data that can't be read,
    RecipeError for a recipe that is wrong.
    """
    events = events or Events.silent()
    for path in imports:
        plugin.add_file(Path(path))
    began = time.perf_counter()
    data = _data(target, overrides, imports, versions)
    subject = _subject(data, against, rows, events)
    read = time.perf_counter() - began
    checked = checkup.run(subject, events)
    return _document(target, data, subject, checked, read)


# ---- what is read ----------------------------------------------------------------------------------------------------


def _data(target: str, overrides: Sequence[str], imports: Sequence[Path | str], versions: Versions | None) -> _Data:
    if target.lower().endswith(_RECIPES):
        return _of_recipe(target, recipes.load(target, overrides, imports, versions))
    if overrides:
        what = f"{overrides[0]!r} changes a recipe, and {target} is none"
        raise RecipeError(what, do="name a recipe (.yaml), or leave it out")
    return _Data(source_of(target))


def source_of(target: str) -> Any:
    """The source that reads a file, a folder, a pattern, a URL or an asset, chosen by how the names of files end.

    Rows that can't be read are skipped and told. Raises DataError where no source reads such a file.
    """
    if target.startswith("asset:"):
        return plugin.load("sources", "asset")(asset=target.removeprefix("asset:"))
    endings = {e.name: tuple(e.facts.get("endings", ())) for e in plugin.entries("sources") if e.name != "feedback"}
    names = file_places.names(target) if is_url(target) or is_pattern(target) else _names(Path(target))
    ending = Counter(Path(file_places.plain_name(name)).suffix.lower() for name in names).most_common(1)[0][0]
    chosen = next((name for name, known in endings.items() if ending in known), "")
    if not chosen:
        known = ", ".join(sorted({one for ends in endings.values() for one in ends}))
        what = f"no source reads a file that ends in {ending!r}" if ending else "the file's name has no ending"
        raise DataError(what, where=target, do=f"known are {known}; or name a recipe, which can say more")
    path = target if is_url(target) else str(Path(target).expanduser().absolute())
    fields = plugin.find("sources", chosen).fields
    lenient = {name: value for name, value in _LENIENT.items() if name in fields}
    return plugin.load("sources", chosen)(path=path, **lenient)


def _names(path: Path) -> list[str]:
    return [one.name for one in file_places.find(str(path))]


def _of_recipe(path: str, recipe: recipes.Recipe) -> _Data:
    step = next((one for one in recipe.steps if one.stage.name == "prepare"), None)
    if step is None:
        raise RecipeError("the recipe prepares no data", where=path, do="add a step {do: prepare}, or name the file")
    stage = step.stage.make(step.name)
    operators = [{choice.name: choice.plain()[choice.name]} for choice in step.stage.settings["operators"]]
    given = [{name: _changed(name, options)} for one in operators for name, options in one.items()]
    shares = {"validation": stage.split.validation, "test": stage.split.test}
    return _Data(stage.source, stage.task, given, step.name, path, shares, _limit(recipe.steps, stage.task))


def _changed(operator: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from their defaults, to be written into a recipe again."""
    fields = plugin.find("operators", operator).fields
    return {name: value for name, value in options.items() if value != fields[name].get("default")}


def _limit(steps: Sequence[Step], task: Any) -> Any:
    """The tokens that the first backbone of the steps takes; None where it has no processor, or is not here yet."""
    backbone = next((b for step in steps if (b := step.stage.settings.get("backbone")) is not None), None)
    if backbone is None:
        return None
    try:
        made = backbone.make("backbone")
        folder = made.folder()
        processor = made.processor(folder) if folder else None
    except DanluError:  # the model must be fetched first: words are counted instead
        return None
    known = [most for most in (getattr(task, "max_length", None), getattr(processor, "most", None)) if most]
    if processor is None or not known or not hasattr(processor, "length"):
        return None
    name = str(backbone.settings.get("model", backbone.name))
    return checkup.Limit(name, min(known), processor.length)


# ---- the subject -----------------------------------------------------------------------------------------------------


def _subject(data: _Data, against: str, rows: int | None, events: Events) -> Any:
    own = data.source.splits()
    table, places, total = spreading.spread(_reading(data.source, own or ("",), events), rows)
    if table is None or not table.num_rows:
        raise DataError("there are no rows", where=data.source.name, do="name a file that has some")
    said = table.schema.metadata or {}
    notes, doubts = (said.get(name, b"").decode().splitlines() for name in (delimited.NOTES, delimited.DOUBTS))
    split = numpy.array(table.column(_SPLIT).to_pylist(), dtype=object) if own else None
    table = table.drop_columns([_SPLIT]).combine_chunks() if own else table.combine_chunks()
    sniffed = sniffing.sniff(table)
    other = source_of(against) if against else None
    measured = pyarrow.Table.from_batches(list(other.rows())) if other else None
    return checkup.Subject(
        table=table,
        total=total,
        places=places,
        columns=_columns(data.task, table, sniffed),
        sniffed=sniffed,
        split=split,
        against=measured,
        against_source={other.name: against} if other else {},
        limit=data.limit,
        notes=notes,
        doubts=[tuple(doubt.split("\t")) for doubt in doubts],
        **({"shares": data.shares} if data.shares else {}),
    )


_SPLIT = "__split__"


def _reading(source: Any, splits: Iterable[str], events: Events) -> Iterator[Any]:
    """The batches of all splits, each row with the name of its own."""
    done = 0
    for name in splits:
        for batch in source.rows(name):
            done += batch.num_rows
            events.progress("reading", done, None, "rows")
            yield batch.append_column(_SPLIT, pyarrow.array([name] * batch.num_rows)) if name else batch
    events.progress("reading", done, done, "rows")


def _columns(task: Any, table: Any, sniffed: Any) -> Any:
    """The columns of a recipe's task, else those that were found."""
    if task is not None:
        columns = task.settle(table).columns()
        if lost := [name for name in (*columns.ask, *columns.gold) if name not in table.column_names]:
            there = ", ".join(table.column_names)
            raise DataError(
                f"there is no column {lost[0]!r}; the columns are: {there}", do="correct the task's columns"
            )
        return columns
    asked = sniffed.image or sniffed.text
    return contracts.Columns((asked,) if asked else (), (sniffed.label,) if sniffed.label else ())


# ---- what is told ----------------------------------------------------------------------------------------------------


def _document(target: str, data: _Data, subject: Any, checked: Sequence[Any], read: float) -> dict[str, Any]:
    findings = [(one.name, finding) for one in checked for finding in one.findings]
    findings.sort(key=lambda pair: (checkup.SEVERITIES.index(pair[1].severity), -(pair[1].share or 0)))
    mends = [mend for _, finding in findings for mend in finding.mends]
    if not subject.text_columns and not data.recipe:
        data = replace(data, operators=[one for one in data.operators if "normalize" not in one])
    present = [name for one in data.operators for name in one] if data.recipe else []
    told = [_finding(name, finding, data, present) for name, finding in findings]
    counts = {severity: sum(f["severity"] == severity for f in told) for severity in checkup.SEVERITIES}
    return {
        "data": target,
        "name": Path(target).name if ":" not in target else target,
        "version": plugin.code_identity().partition("+")[0],
        "source": data.source.name,
        "rows": subject.total,
        "looked_at": subject.rows,
        "input": list(subject.columns.ask),
        "truth": list(subject.columns.gold),
        "columns": [asdict(one) for one in columns_check.overview(subject)],
        "counts": counts,
        "findings": told,
        "checks": [
            {"name": one.name, "found": len(one.findings), "skipped": one.skipped, "seconds": round(one.seconds, 3)}
            for one in checked
        ],
        "recipe": _pasted(data.operators, mends, data.step) if mends else None,
        "seconds": round(read + sum(one.seconds for one in checked), 3),
        "reading_seconds": round(read, 3),
    }


def _finding(check: str, finding: Any, data: _Data, present: Sequence[str]) -> dict[str, Any]:
    """A finding in plain values; `mended` says that the recipe has all operators that mend it already."""
    told = {name: value for name, value in asdict(finding).items() if name != "mends"}
    mends = list(finding.mends)
    mended = bool(mends) and all(mend.operator in present for mend in mends)
    pasted = _pasted(data.operators, mends, data.step) if mends and not mended else None
    written = [mend.written for mend in mends] if pasted else []
    return {"check": check, **told, "operators": written, "mend": pasted, "mended": mended}


def _pasted(operators: Sequence[Mapping[str, Any]], mends: Sequence[Any], step: str) -> dict[str, str]:
    """What is pasted into the prepare step, and the same for the command line, with the operators that are there."""
    whole = checkup.merged(operators, mends)
    listed = ", ".join(mend.written for mend in whole)
    return {
        "yaml": "\n".join(["operators:", *(f"  - {mend.bare}" for mend in whole)]),
        "override": f"{step}.operators={shlex.quote(f'[{listed}]')}",
    }
