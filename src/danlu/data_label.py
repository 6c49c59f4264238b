"""Choose the rows worth a person's label, write them as a sheet to fill in, and read it back (`danlu data label`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from danlu import data_check
from danlu.core.digests import files_below
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events
from danlu.core.files import write_atomic
from danlu.core.plugin import lazy

numpy = lazy("numpy")
picking = lazy("danlu.blocks.picking")
sheets = lazy("danlu.blocks.labelling_sheet")
sklearn = lazy("danlu.blocks.sklearn")
sniffing = lazy("danlu.blocks.sniff")
splits = lazy("danlu.blocks.splits")
spreading = lazy("danlu.blocks.spread")
tables = lazy("danlu.blocks.tables")

STRATEGIES = ("combined", "uncertainty", "entropy", "margin", "diversity")
MOST_ROWS = 20_000
"""Rows that are looked at where nobody says how many."""
_AT_ONCE = 1024
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class _Pool:
    """The rows without a label: what is shown of each, what the model is asked, and its number, counted from 1."""

    shown: list[str]
    asked: list[str]
    numbers: list[int]
    total: int
    column: str
    label: str
    pictures: bool = False

    def of(self, places: Sequence[int]) -> _Pool:
        """The rows of these places alone."""
        shown, asked = ([part[k] for k in places] for part in (self.shown, self.asked))
        return replace(self, shown=shown, asked=asked, numbers=[self.numbers[k] for k in places])

    def features(self, places: Any) -> Any:
        """The texts as TF-IDF, the pictures as thumbnails."""
        some = [self.asked[k] for k in places]
        return picking.thumbnails(some) if self.pictures else sklearn.text_features(some)


def choose(
    target: str,
    model: Any = None,
    *,
    count: int = 100,
    by: str = "combined",
    column: str = "",
    label: str = "",
    rows: int | None = MOST_ROWS,
    seed: int = 0,
    events: Events | None = None,
) -> dict[str, Any]:
    """The rows to label, as one JSON document.

    `target` is a file, a pattern, a URL, `asset:name` or a folder of pictures; `model` is what `danlu.load` gives, and
    `by` one of `STRATEGIES`. Rows that have a label are left out, as are the second of two equal ones. Of more than
    `rows` some are looked at, spread over the whole. Raises DataError for data that can't be read or has no row
    without a label, RecipeError for a model or a strategy that does not fit.
    """
    events = events or Events.silent()
    task = _task(model)
    if by not in STRATEGIES:
        raise RecipeError(f"{by!r} is no strategy", where="--by", do=f"one of {', '.join(STRATEGIES)}")
    if model is None and by not in ("combined", "diversity"):
        raise RecipeError(f"{by} needs a model's scores", where="--by", do="name one with --model, or --by diversity")
    pool = _pictures(target, rows, label) if Path(target).is_dir() else None
    pool = pool or _texts(target, task, column, label, rows, events)
    answers = _answers(model, pool.asked, events) if model else []
    pool, answers, failed = _answered(pool, answers)
    labels = list(task.labels) if task else []
    scores = numpy.array([[a["scores"][one] for one in labels] for a in answers]) if model else None
    events.progress("choosing", 0, count, "rows")
    places = picking.pick(scores, pool.features, len(pool.asked), count, by, seed).tolist()
    events.progress("choosing", len(places), len(places), "rows")
    picked = [_told(pool, answers, k, by) for k in places]
    head = {"data": target, "model": model.name if model else None, "by": by, "rows": pool.total}
    told = {"unlabelled": len(pool.asked), "without_answer": failed, "column": pool.column, "label": pool.label}
    return {**head, **told, "labels": labels, "picked": picked}


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the sheet of what was chosen. Raises RecipeError where there is a file already."""
    if path.exists():
        raise RecipeError("there is a file already", where=str(path), do="--out another.csv")
    text = sheets.sheet(document["column"], document["label"], document["picked"])
    write_atomic(path, "\ufeff" + text)


def read(sheet: Path, out: Path, *, labels: Sequence[str] = (), partial: bool = False, append: bool = False) -> Any:
    """Read a sheet that was filled in, and write its rows into `out`, a CSV with the input and its label.

    With `append` they come after the rows that `out` has. Raises DataError for a sheet with faults (nothing is written
    then), RecipeError where `out` is there and is not to be appended to.
    """
    if out.exists() and not append:
        do = "--append adds the rows to it, or --out another.csv"
        raise RecipeError("there is a file already", where=str(out), do=do)
    filled = sheets.read_sheet(sheet, labels, partial=partial)
    content, added = sheets.appended(out, filled)
    write_atomic(out, content)
    counts = {"rows": len(filled.rows), "added": added, "empty": filled.empty, "labels": filled.counted}
    return {"sheet": str(sheet), "out": str(out), "column": filled.column, "label": filled.label, **counts}


# ---- the rows --------------------------------------------------------------------------------------------------------


def _task(model: Any) -> Any:
    if model is None:
        return None
    task = model.predictor.task
    if task.gives.get("answer") != "label" or len(task.columns().ask) != 1:
        what = f"{model.name} does {task.name}, and rows are chosen for one label a text or a picture"
        raise RecipeError(what, do="leave --model out, or name a model that gives one label")
    return task


def _pictures(target: str, most: int | None, label: str) -> _Pool | None:
    """The pictures of a folder; None where there are none."""
    found = sorted((name, path) for name, path in files_below(Path(target)) if name.lower().endswith(_PICTURES))
    step = max(1, -(-len(found) // most)) if most else 1
    kept = list(enumerate(found, 1))[::step]
    paths = [str(path) for _, (_, path) in kept]
    names = [name for _, (name, _) in kept]
    return _Pool(names, paths, [k for k, _ in kept], len(found), "file", label or "label", True) if found else None


def _texts(target: str, task: Any, column: str, label: str, most: int | None, events: Events) -> _Pool:
    source = data_check.source_of(target)
    table, places, total = spreading.spread(source.rows(), most)
    if table is None or not table.num_rows:
        raise DataError("there are no rows", where=target, do="name a file that has some")
    asked, gold = (task.columns().ask[0], task.columns().gold[0]) if task else ("", "label")
    column = column or (asked if asked in table.column_names else sniffing.sniff(table).text or "")
    label = label or gold
    if column not in table.column_names or not tables.is_text(table.schema.field(column).type):
        what = f"there is no column of texts {column!r}; the columns are: {', '.join(table.column_names)}"
        raise DataError(what, where=target, do="name the texts' column: --column text")
    texts = table.column(column).to_pylist()
    done = table.column(label).to_pylist() if label in table.column_names else [None] * len(texts)
    first: dict[bytes, int] = {}
    for k, key in enumerate(splits.row_keys(table, (column,))):
        if done[k] in (None, "") and (texts[k] or "").strip():
            first.setdefault(key, k)
    if not first:
        what = f"no row is without a {label}" if label in table.column_names else "no row has a text"
        raise DataError(what, where=target, do="name a file with rows that want a label")
    kept = list(first.values())
    some = [texts[k] for k in kept]
    return _Pool(some, some, [int(places[k]) + 1 for k in kept], total, column, label)


def _answers(model: Any, asked: Sequence[str], events: Events) -> list[Any]:
    answers: list[Any] = []
    for start in range(0, len(asked), _AT_ONCE):
        events.progress("answering", start, len(asked), "inputs")
        answers += model.predictor.try_all(asked[start : start + _AT_ONCE])
    events.progress("answering", len(asked), len(asked), "inputs")
    return answers


def _answered(pool: _Pool, answers: list[Any]) -> tuple[_Pool, list[Any], int]:
    """Without the rows that the model has no answer to, which are counted. Raises DataError where that is all."""
    kept = [k for k, answer in enumerate(answers) if not isinstance(answer, Exception)]
    if answers and not kept:
        raise DataError(f"the model answers none of {len(answers)} rows: {answers[0]}", do="name a model that fits")
    failed = len(answers) - len(kept)
    return (pool.of(kept), [answers[k] for k in kept], failed) if failed else (pool, answers, 0)


# ---- what is told ----------------------------------------------------------------------------------------------------


def _told(pool: _Pool, answers: list[Any], place: int, by: str) -> dict[str, Any]:
    answer = answers[place] if answers else None
    row = {"row": pool.numbers[place], "input": pool.shown[place]}
    if answer is None:
        return {**row, "guess": "", "confidence": None, "why": "unlike the others"}
    best, *rest = sorted(answer["scores"].items(), key=lambda pair: -pair[1])[:2]
    close = "; ".join(f"{name} {score:.2f}" for name, score in (best, *rest))
    why = {"diversity": "unlike the others", "combined": f"{close}; unlike the others"}.get(by, close)
    return {**row, "guess": answer["label"], "confidence": answer["confidence"], "why": why}
