"""The model card of a version, as Markdown and as one HTML file that needs no network.

A card is made from the record of a version whenever somebody asks for it. The record cannot change, so neither can what
the card says. It shows what was recorded and says what was not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from danlu.core.printable import printable
from danlu.registry.lineage import steps
from danlu.registry.versions import Version

_NO = "–"


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the columns in `right` (by place) hold numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A part of the card; what is empty is not shown, and a section without content says `Not recorded.`"""

    title: str
    text: Sequence[str] = ()
    items: Sequence[str] = ()
    tables: Sequence[Table] = ()
    code: str = ""


def markdown(version: Version) -> str:
    """The card as Markdown (with tables as on GitHub)."""
    return _render("card.md.jinja", version)


def html(version: Version) -> str:
    """The card as one HTML page; everything in it is escaped, it loads nothing and runs no script."""
    return _render("card.html.jinja", version)


def sections(version: Version) -> list[Section]:
    """What the card says, in order."""
    about = version.metadata
    return [
        Section("Task", text=_present(about.get("task")), items=about.get("labels", [])),
        _results(about),
        _parity(about),
        Section("Limits", items=about.get("limits", [])),
        _data(about),
        Section("Training", tables=_pairs(about.get("training", {}))),
        Section("Recipe", code=about.get("recipe", "")),
        _lineage(version),
        Section("Machine", tables=_pairs(about.get("machine", {}))),
        Section("Libraries", tables=_pairs(about.get("libraries", {}))),
        _licences(about),
        _files(version),
    ]


def _render(template: str, version: Version) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": _plain, "fence": _fence}
    description = version.metadata.get("description", "")
    shown = environment.get_template(template).render(
        version=version, description=description, sections=sections(version)
    )
    return printable(shown.rstrip()) + "\n"


def _plain(text: str) -> str:
    """Text that means itself in Markdown, on one line."""
    return re.sub(r"([\\`*\[\]<>|#~]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def _fence(text: str) -> str:
    """A fence longer than any run of backticks inside."""
    return "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))


def _present(*texts: str | None) -> list[str]:
    return [text for text in texts if text]


def _pairs(values: Mapping[str, Any]) -> list[Table]:
    return _table(("name", "value"), [(name, _value(value)) for name, value in values.items()])


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> str:
    match value:
        case None:
            return _NO
        case {"value": value, "low": low, "high": high}:
            return f"{value:.3f} ({low:.3f}–{high:.3f})"
        case int() | float():
            return f"{value:.3f}"
    return _value(value)


def _megabytes(size: int | None) -> str:
    return _NO if size is None else f"{size / 1e6:,.1f} MB"


def _union(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _results(about: Mapping[str, Any]) -> Section:
    forms, baselines = about.get("forms", []), about.get("baselines", [])
    if not forms and not baselines:
        return Section("Results")
    metrics = _union(one.get("metrics", {}) for one in (*forms, *baselines))
    batches = _union(form.get("latency_ms", {}) for form in forms)
    rows = [[_name(form), *_measured(form, metrics, batches)] for form in forms]
    rows += [[f"{one.get('name', _NO)} (baseline)", *_measured(one, metrics, batches)] for one in baselines]
    head = ["form", *metrics, "size", *(f"ms per input, batch {batch}" for batch in batches)]
    text = ["Measured on the frozen test set; in brackets the 95 % intervals."]
    required = [f"{metric} {bound}" for metric, bound in about.get("required", {}).items()]
    if required:
        text.append(f"Required of every form: {', '.join(required)}.")
    if not baselines:
        text.append("No baseline was recorded.")
    return Section("Results", text, tables=_table(head, rows, range(1, len(head))))


def _name(form: Mapping[str, Any]) -> str:
    return f"{form.get('name', _NO)}{' (default)' if form.get('default') else ''}"


def _measured(one: Mapping[str, Any], metrics: Sequence[str], batches: Sequence[str]) -> list[str]:
    numbers = [_number(one.get("metrics", {}).get(metric)) for metric in metrics]
    times = [_number(one.get("latency_ms", {}).get(batch)) for batch in batches]
    return [*numbers, _megabytes(one.get("bytes")), *times]


def _parity(about: Mapping[str, Any]) -> Section:
    rows = []
    for form in about.get("forms", []):
        found = form.get("parity")
        if found:
            distances = [_small(found.get(name)) for name in ("greatest", "p99", "tolerance")]
            changed = found.get("labels_changed")
            verdict = {True: "yes", False: "NO", None: _NO}[found.get("passed")]
            share = _NO if changed is None else f"{changed:.2%}"
            rows.append(
                [_name(form), found.get("against", _NO), str(found.get("rows", _NO)), *distances, share, verdict]
            )
    head = ["form", "against", "rows", "greatest distance", "99th percentile", "tolerance", "labels changed", "passed"]
    return Section("Parity", tables=_table(head, rows, range(2, 7)))


def _small(value: float | None) -> str:
    return _NO if value is None else f"{value:.1e}"


def _data(about: Mapping[str, Any]) -> Section:
    data = about.get("data", {})
    names = {"source": "Source", "licence": "Licence", "fingerprint": "Fingerprint of the source"}
    text = [f"{names[key]}: {data[key]}" for key in names if data.get(key)]
    splits = data.get("splits", {})
    rows = [[name, str(split.get("rows", _NO)), split.get("digest", _NO)] for name, split in splits.items()]
    return Section("Data", text, tables=_table(("split", "rows", "digest of its rows"), rows, {1}))


def _lineage(version: Version) -> Section:
    rows = []
    for node in steps(version):
        facts = node.get("facts", {})
        made_from = ", ".join(source["name"] for source in node["inputs"].values()) or _NO
        stage = facts.get("stage", "its manifest was not stored")
        rows.append([node["name"], stage, made_from, facts.get("created", _NO), node["digest"]])
    head = ("step", "stage", "made from", "when (UTC)", "digest")
    return Section("Lineage", tables=_table(head, rows))


def _licences(about: Mapping[str, Any]) -> Section:
    licence = about.get("licence")
    text = f"Licence of this model: {licence}" if licence else "The licence of this model was not recorded."
    head = ("name", "version", "licence", "url", "sha256")
    rows = [[asset.get(key, _NO) for key in head] for asset in about.get("assets", [])]
    return Section("Licences and assets", [text], tables=_table(("asset", *head[1:]), rows))


def _files(version: Version) -> Section:
    rows = [[path, f"{file.size:,}", file.sha256] for path, file in sorted(version.files.items())]
    return Section("Files", tables=_table(("file", "bytes", "SHA-256"), rows, {1}))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[Table]:
    return [Table(head, rows, frozenset(right))] if rows else []
