"""A first recipe for a table of one's own: sniff the columns, choose what suits data and machine, and say why."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.core import assets, plugin
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.core.files import disk_faults
from danlu.core.plugin import lazy
from danlu.core.printable import printable

sniffing = lazy("danlu.blocks.sniff")
delimited = lazy("danlu.blocks.delimited")
spreading = lazy("danlu.blocks.spread")
numbers = lazy("danlu.blocks.numbers")
text_pairs = lazy("danlu.blocks.text_pairs")

BATCH_SIZE = 32
MIN_UPDATES = 600
"""Fewer updates than this leave a small encoder half-tuned: on a small table two epochs are only a few dozen steps."""
_EPOCHS = 2
_TRAIN_SHARE, _VALIDATION_SHARE, _TEST_SHARE = 0.7, 0.1, 0.2
_SMALL_TEST = 200
_MOST_ROWS = 20_000  # kept of a large file: four times what the sniffer looks at
_COUNTED = {"text_regression": "tfidf_ridge"}
"""Task → the backbone that counts words; of the others tfidf_lr."""
_METRICS = {"text_regression": ("spearman", "mae")}
"""Task → its metrics, the first being the one that a compression must not cost; of the others accuracy and F1."""
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z_][A-Za-z0-9_-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Draft:
    """A recipe that was drafted: its text, and the reasons to print."""

    name: str
    text: str
    reasons: Sequence[str]


@dataclass(frozen=True)
class _Model:
    """The backbone that suits the data, how it is trained, and why."""

    backbone: str
    why: str
    training: str = ""
    """Further options of the finetune step; empty for a backbone that counts and is trained in one pass."""


def draft(data: Path, recipe: Path) -> Draft:
    """A recipe for a CSV or TSV file, to be written to `recipe`: it names the file relative to the recipe's folder.

    Raises RecipeError when there is a recipe already, DataError when the data can't be read or its columns not be told.
    """
    if recipe.exists():
        raise _taken(recipe)
    rows, total, doubt = _read(data)
    found = sniffing.sniff(rows)
    reasons = [f"file: {total:,} rows, columns {', '.join(map(repr, rows.column_names))}", *_notes(rows)]
    reasons += [f"header: {doubt}"] if doubt else []
    reasons += found.reasons
    task = _task(rows, found)
    if task is None:
        missing = "the label" if found.label is None else "a text or a picture"
        raise DataError(
            "\n     ".join([f"no column looks like {missing}; what was seen:", *reasons]),
            where=str(data),
            do="name the columns yourself: danlu run recipes/review_sentiment.yaml name=mine "
            "data.source='{csv: …}' data.task='{text_classification: {text: …, label: …}}'",
        )
    [(kind, columns)] = task.items()
    reasons.append(f"task: {kind}, of {', '.join(columns.values())}")
    model = _picture_model() if found.image else _text_model(found.language, _COUNTED.get(kind, "tfidf_lr"))
    reasons.append(f"backbone: {model.backbone}, {model.why}")
    if model.training:
        reasons.append(f"training: {_length(total)}")
    name = _name(data)
    return Draft(name, _recipe(name, data, recipe, total, task, model, doubt), reasons)


def _task(rows: Any, found: Any) -> dict[str, dict[str, str]] | None:
    """The task that the columns suit, by its name, with its columns; None where something is missing."""
    if found.image:
        return {"image_classification": {"image": found.image, "label": found.label}} if found.label else None
    if not found.text:
        return None
    pair = text_pairs.named_pair(rows.column_names)
    texts = {"text": pair[0], "text_pair": pair[1]} if pair else {"text": found.text}
    if found.label:
        return {f"text_{'pair_' if pair else ''}classification": {**texts, "label": found.label}}
    value = numbers.named_scale(rows, tuple(texts.values()))
    return {"text_regression": {**texts, "value": value}} if value else None


def write(made: Draft, path: Path) -> None:
    """Write the recipe. An existing file is never overwritten: RecipeError."""
    try:
        with disk_faults(path), path.open("x", encoding="utf-8") as file:
            file.write(made.text)
    except FileExistsError as error:
        raise _taken(path) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MachineError("there is no such folder", where=str(path.parent), do="make it first") from error


def _taken(path: Path) -> RecipeError:
    if path.is_dir():
        do = f"name the file to write: --to {shlex.quote(str(path / 'my.yaml'))}"
        return RecipeError("it is a folder", where=str(path), do=do)
    do = f"danlu run {shlex.quote(str(path))}, or write another one: --to OTHER.yaml"
    return RecipeError("there is a file already, and it is left as it is", where=str(path), do=do)


# ---- reading ---------------------------------------------------------------------------------------------------------


def _read(data: Path) -> tuple[Any, int, str]:
    """Rows spread over the whole file, and how many it has; in bounded memory.

    Where the first line looks like a row it is read as one, and the third value says so.
    """
    if data.suffix.lower() not in (".csv", ".tsv", ".txt"):
        what = "is not a table that this command reads"
        raise DataError(what, where=str(data), do="give a .csv or .tsv file with a header line")
    source = plugin.load("sources", "csv")
    rows, _, total = spreading.spread(source(path=str(data.absolute())).rows(), _MOST_ROWS)
    told = (rows.schema.metadata or {}).get(delimited.DOUBTS, b"").decode().partition("\t")[0]
    if not told:
        return rows, total, ""
    rows, _, total = spreading.spread(source(path=str(data.absolute()), header=False).rows(), _MOST_ROWS)
    doubt = (
        f"{told}. So it is read as a row, and the columns are c1, c2, …; "
        "if it does name them, write `header: true` and the names in the recipe"
    )
    return rows, total, doubt


def _notes(rows: Any) -> Iterator[str]:
    """What was guessed while reading, such as the encoding."""
    notes = (rows.schema.metadata or {}).get(delimited.NOTES, b"").decode()
    yield from (f"file: {note}" for note in notes.splitlines())


# ---- choosing --------------------------------------------------------------------------------------------------------


def _picture_model() -> _Model:
    why = "a small convolutional network, trained from scratch"
    return _Model("{cnn: {size: small}}", why, "method: full, lr: 0.002, ")


def _text_model(language: Any, counted: str) -> _Model:
    minilm = assets.find("minilm")
    if language.code != "en":
        return _Model(
            counted,
            f"words counted and weighed, since {language.reason}: the encoder minilm knows English only, and there is "
            "no encoder for this language among the assets. Where you have one, write "
            "`backbone: {pretrained: ./its-folder}, steps: 600`",
        )
    if not assets.is_here(minilm):
        return _Model(
            counted,
            "words counted and weighed, since the English encoder minilm is not on this machine: "
            f"`danlu assets get minilm` fetches it ({minilm.size_mb:g} MB), then write "
            '`backbone: {pretrained: "asset:minilm"}, steps: 600`',
        )
    return _Model(
        '{pretrained: "asset:minilm"}', "a small English encoder, since the text is English", "method: full, "
    )


def steps_for(rows: int) -> int:
    """Training steps for a table: two epochs, and never fewer than 600."""
    return max(MIN_UPDATES, math.ceil(rows * _TRAIN_SHARE / BATCH_SIZE * _EPOCHS))


def _length(rows: int) -> str:
    steps = steps_for(rows)
    epochs = steps * BATCH_SIZE / (rows * _TRAIN_SHARE)
    least = f", since fewer than {MIN_UPDATES} updates leave a model half-tuned" if steps == MIN_UPDATES else ""
    return f"{steps:,} steps of {BATCH_SIZE} rows, {epochs:.1f} epochs{least}"


# ---- writing ---------------------------------------------------------------------------------------------------------


def _name(data: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", data.stem.lower()).strip("-")[:64].strip("-") or "my-model"


def _recipe(name: str, data: Path, recipe: Path, rows: int, task: dict[str, Any], model: _Model, doubt: str) -> str:
    command = printable(shlex.quote(recipe.name)).replace("\n", " ")
    small = rows * _TEST_SHARE < _SMALL_TEST
    metrics = _METRICS.get(next(iter(task)), ("accuracy", "f1"))
    lines = [
        f"# Drafted by `danlu new` from {_quoted(data.name)}, {rows:,} rows. Change what you like.",
        "#",
        f"#   danlu check {command}    what is wrong with it, at once",
        f"#   danlu run {command}      prepare, train, measure, verify, publish",
        f"name: {_yaml(name)}",
        "seed: 0",
        "steps:",
        "  data:",
        "    do: prepare",
        *_comment(doubt, 4),
        f"    source: {{csv: {_source(data, recipe, task, header=not doubt)}}}",
        "    # The columns that were found. Where one is wrong, write another name.",
        f"    task: {_yaml(task)}",
        f"    operators: [{'' if 'image_classification' in task else 'normalize, '}drop_empty, drop_duplicates]",
        *_comment("The test rows are frozen: only evaluate and verify see them.", 4),
        *(_comment("They are few, so the intervals will be wide.", 4) if small else ()),
        "    split: {validation: 0.1, test: 0.2}",
        *_comment(f"{model.backbone}: {model.why}.", 2),
        *_training(rows, model, metrics[0]),
        f"  score: {{do: evaluate, metrics: [{', '.join(metrics)}]}}",
        "  same: {do: verify}",
        f'  # Where you know what you need, add a gate: require: {{{metrics[0]}: ">= 0.8"}}',
        "  ship: {do: publish, alias: production}",
    ]
    return "\n".join(lines) + "\n"


def _source(data: Path, recipe: Path, task: dict[str, Any], *, header: bool) -> str:
    path = _quoted(_relative(data, recipe))
    pictures = task.get("image_classification")
    options = ["" if header else "header: false", f"pictures: [{_yaml(pictures['image'])}]" if pictures else ""]
    return f"{{{', '.join([f'path: {path}', *filter(None, options)])}}}" if any(options) else path


def _training(rows: int, model: _Model, metric: str) -> Iterator[str]:
    if not model.training:
        yield f"  tuned: {{do: finetune, backbone: {model.backbone}}}"
        return
    drop = max(0.01, math.ceil(2000 / (rows * _VALIDATION_SHARE)) / 1000)  # two rows are no reason to stop
    options = f"{model.training}steps: {steps_for(rows)}, batch_size: {BATCH_SIZE}"
    yield from _comment(f"{_length(rows)}. The best weights on validation are kept.", 2)
    yield f"  tuned: {{do: finetune, backbone: {model.backbone}, {options}}}"
    yield from _comment(f"A smaller form; the run stops where it costs more {metric} on validation than this.", 2)
    yield f"  small: {{do: compress, by: [int8], budget: {{max_drop: {{{metric}: {min(drop, 0.5):g}}}}}}}"


def _comment(text: str, indent: int) -> list[str]:
    lead = " " * indent + "# "
    return textwrap.wrap(text, 118, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)


def _relative(data: Path, recipe: Path) -> str:
    """Links are followed first: `..` after one leads somewhere else than it looks."""
    path = Path(os.path.relpath(data.resolve(), recipe.parent.resolve())).as_posix()
    return f"./{path}" if path.startswith("~") else path


def _yaml(value: Any) -> str:
    """A value in YAML's flow style, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return value if _PLAIN.fullmatch(value) else _quoted(value)


def _quoted(text: str) -> str:
    """JSON is YAML, but for the characters that YAML wants escaped."""
    escaped = (c if c.isprintable() or c == "\u3000" else _escape(c) for c in json.dumps(text, ensure_ascii=False))
    return "".join(escaped)


def _escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
