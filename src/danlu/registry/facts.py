"""What a version says of itself, gathered from the artifacts that the model was made from: `metadata.Metadata`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from danlu.core import assets
from danlu.core.artifact import Artifact, Store
from danlu.core.errors import DanluError
from danlu.registry.lineage import of_model
from danlu.registry.metadata import Asset, Baseline, Data, Form, Interval, Metadata

_MACHINE = ("os", "python", "cpu", "threads", "memory_total", "gpus")


def ancestors(artifacts: Iterable[Artifact], store: Store) -> list[Artifact]:
    """The artifacts and all they were made from, each once, parents before children."""
    found: dict[str, Artifact] = {}

    def visit(artifact: Artifact) -> None:
        for parent in artifact.parents(store).values():
            visit(parent)
        found.setdefault(artifact.key, artifact)

    for artifact in artifacts:
        visit(artifact)
    return list(found.values())


def gather(
    line: Sequence[Artifact],
    scores: Mapping[str, Any] | None,
    parity: Mapping[str, Any] | None,
    *,
    default: str,
    recipe: str = "",
) -> Metadata:
    """The metadata of a version; `line` is all it was made from, parents first, `default` the form that is served.

    What nobody measured or recorded is left out.
    """
    by_key = {artifact.key: artifact for artifact in line}
    own, training = of_model([artifact.manifest for artifact in line])
    data = by_key[own["key"]].json("dataset.json") if own else {}
    machine = line[-1].manifest["machine"]
    tasks: Mapping[str, Mapping[str, Any]] = data.get("task", {})
    name = next(iter(tasks), "")
    sample: Metadata = {"sample": parity["sample"]} if parity and "sample" in parity else {}
    return {
        **sample,
        "task": name,
        "labels": list(tasks[name].get("labels", ())) if name else [],
        "data": _data(data),
        "recipe": recipe,
        "training": dict(_plain(training["numbers"])) if training else {},
        "forms": _forms(parity, default) if parity else _measured_form(scores),
        "baselines": _baselines(scores) if scores else [],
        "limits": list(_limits(data, scores, parity)),
        "machine": {key: machine[key] for key in _MACHINE if machine.get(key)},
        "libraries": machine.get("libraries", {}),
        "assets": list(_assets(line)),
    }


def _plain(numbers: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Facts for a table: `lr.highest`, `validation.best`; curves and lists stay in the artifact."""
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _plain(value, f"{within}{name}.")
        elif isinstance(value, str | int | float):
            yield f"{within}{name}", value


def _data(data: Mapping[str, Any]) -> Data:
    source = data.get("source", {})
    names = [name for name in source if name != "fingerprint"]
    told: Data = {
        "source": ", ".join(f"{name} {json.dumps(source[name], ensure_ascii=False)}" for name in names),
        "fingerprint": str(source.get("fingerprint", "")),
        "splits": {
            split: {"rows": rows, "digest": data.get("digests", {}).get(split, "")}
            for split, rows in data.get("rows", {}).items()
        },
    }
    licences = [asset.licence for asset in map(_found, sorted(set(_asset_names(source)))) if asset]
    return {**told, "licence": ", ".join(licences)} if licences else told


def recipe_text(name: str, line: Sequence[Artifact], last: Mapping[str, Any]) -> str:
    """The recipe as it was run, with every default written out: from the manifests, and `last`, the step that asks."""
    names: dict[str, str] = {}
    steps: dict[str, Any] = {}
    for told in (*(artifact.manifest for artifact in line), last):
        step = told["step"]
        while step in steps:  # an artifact of another recipe may have been reused under its own name
            step += "_"
        names[str(told.get("key"))] = step
        inputs = {
            need: f"${names[source['key']]}"
            for need, source in told["inputs"].items()
            if source["key"] in names and not need.startswith("$")  # those are named by the settings
        }
        steps[step] = {"do": told["stage"], **inputs, **told["settings"]}
    return _yaml({"name": name, "steps": steps})


def _yaml(data: Mapping[str, Any]) -> str:
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.default_flow_style = None
    yaml.allow_unicode = True
    yaml.width = 110
    yaml.dump(data, out)
    return out.getvalue()


def _forms(parity: Mapping[str, Any], default: str) -> list[Form]:
    forms: list[Form] = []
    for name, told in parity["forms"].items():
        form: Form = {"name": name, "default": name == default, **_measured(told)}
        if told["of"]:
            form["parity"] = {
                "against": told["of"],
                "rows": parity["rows"],
                "greatest": told["distance_max"],
                "p99": told["distance_p99"],
                "tolerance": told["tolerance"],
                "labels_changed": told["changed_share"],
                "passed": told["passed"],
            }
        forms.append(form)
    return forms


def _measured_form(scores: Mapping[str, Any] | None) -> list[Form]:
    """Without a `verify` step, the one form that was evaluated."""
    return [{"name": scores["form"], "default": True, **_measured(scores)}] if scores else []


def _measured(told: Mapping[str, Any]) -> Form:
    """Metrics, size and latency, as far as they were measured."""
    form: Form = {"metrics": _metrics(told)}
    if told.get("size_mb") is not None:
        form["bytes"] = round(told["size_mb"] * 1e6)
    latency = {batch: ms for batch, ms in (told.get("latency_ms") or {}).items() if batch.isdecimal()}
    return {**form, "latency_ms": latency} if latency else form


def _metrics(told: Mapping[str, Any]) -> dict[str, Interval | float]:
    """What was measured of the answers; size and latency have columns of their own."""
    metrics: dict[str, Interval | float] = {}
    for name, score in told["metrics"].items():
        if name in ("size", "latency") or score["value"] is None:
            continue
        known = score["low"] is not None and score["high"] is not None
        interval: Interval = {"value": score["value"], "low": score["low"], "high": score["high"]}
        metrics[name] = interval if known else score["value"]
    return metrics


def _baselines(scores: Mapping[str, Any]) -> list[Baseline]:
    return [{"name": name, "metrics": _metrics(told)} for name, told in scores["baselines"].items()]


def _limits(
    data: Mapping[str, Any], scores: Mapping[str, Any] | None, parity: Mapping[str, Any] | None
) -> Iterator[str]:
    rows = data.get("rows", {}).get("test")
    if rows and (scores or parity):
        yield f"Measured on {rows:,} test rows from the source of the training rows; other data may give other numbers."
    if scores is None:
        yield "It was not compared with baselines before it was published."
    if parity is None:
        yield "Its forms were not compared with each other before it was published."
    else:
        yield "Latency was measured on the machine below, where other work may have been running."
    yield from (scores or {}).get("warnings", ())


def _assets(line: Sequence[Artifact]) -> Iterator[Asset]:
    names = {name for artifact in line for name in _asset_names(artifact.manifest["settings"])}
    for asset in filter(None, map(_found, sorted(names))):
        package = asset.packages[0]
        yield {"name": asset.name, "version": asset.version, "sha256": package.sha256, "licence": asset.licence}


def _found(name: str) -> assets.Asset | None:
    try:
        return assets.find(name)
    except DanluError:
        return None


def _asset_names(settings: Any) -> Iterator[str]:
    """`asset:name` anywhere, and the name of a source `{asset: {name: …}}`."""
    if isinstance(settings, str) and settings.startswith("asset:"):
        yield settings.removeprefix("asset:")
    elif isinstance(settings, Mapping):
        for key, value in settings.items():
            if key == "asset" and isinstance(value, Mapping):
                yield str(value.get("name", ""))
            yield from _asset_names(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _asset_names(value)
