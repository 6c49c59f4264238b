"""What a version says of itself, gathered from the artifacts that the model was made from: `metadata.Metadata`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from danlu.core import assets
from danlu.core.artifact import Artifact, Store
from danlu.core.errors import DanluError
from danlu.registry.metadata import Asset, Baseline, Data, Form, Metadata


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
    name: str, line: list[Artifact], scores: Mapping[str, Any] | None, parity: Mapping[str, Any] | None, default: str
) -> Metadata:
    """The metadata of a version; `line` is all it was made from, parents first."""
    data = next((a.json("dataset.json") for a in line if a.kind == "dataset"), {})
    trained = next((a for a in line if a.kind == "model"), None)
    machine = line[-1].manifest["machine"]
    options: Mapping[str, Any] = next(iter(data.get("task", {}).values()), {})
    about: Metadata = {
        "task": next(iter(data.get("task", {})), ""),
        "labels": list(options.get("labels", ())),
        "data": _data(data),
        "recipe": _recipe(name, line),
        "training": dict(trained.numbers) if trained else {},
        "forms": _forms(parity, default) if parity else [],
        "baselines": _baselines(scores) if scores else [],
        "limits": list(_limits(data, scores, parity)),
        "machine": {key: machine[key] for key in ("os", "python", "cpu", "threads", "memory_total") if key in machine},
        "libraries": machine.get("libraries", {}),
        "assets": list(_assets(line)),
    }
    return about


def _data(data: Mapping[str, Any]) -> Data:
    source = data.get("source", {})
    splits = {
        split: {"rows": rows, "digest": data.get("digests", {}).get(split, "")}
        for split, rows in data.get("rows", {}).items()
    }
    told = ", ".join(f"{name} {options}" for name, options in source.items() if name != "fingerprint")
    return {"source": told, "fingerprint": str(source.get("fingerprint", "")), "splits": splits}  # type: ignore[typeddict-item]


def _recipe(name: str, line: list[Artifact]) -> str:
    """The recipe as it was run, with every default written out, from the manifests."""
    steps = {a.manifest["step"]: {"do": a.manifest["stage"], **a.manifest["settings"]} for a in line}
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.dump({"name": name, "steps": steps}, out)
    return out.getvalue()


def _forms(parity: Mapping[str, Any], default: str) -> list[Form]:
    forms: list[Form] = []
    for name, told in parity["forms"].items():
        form: Form = {"name": name, "default": name == default, "metrics": told.get("metrics", {})}
        if told.get("size_mb") is not None:
            form["bytes"] = round(told["size_mb"] * 1e6)
        if told.get("latency_ms"):
            form["latency_ms"] = {str(batch): ms for batch, ms in told["latency_ms"].items()}
        if told.get("of"):
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


def _baselines(scores: Mapping[str, Any]) -> list[Baseline]:
    return [{"name": name, "metrics": told["metrics"]} for name, told in scores.get("baselines", {}).items()]


def _limits(
    data: Mapping[str, Any], scores: Mapping[str, Any] | None, parity: Mapping[str, Any] | None
) -> Iterator[str]:
    rows = data.get("rows", {}).get("test")
    if rows:
        yield f"Measured on {rows} test rows of the same source as the training rows; other data may give others."
    if scores is None:
        yield "It was not evaluated beside baselines before it was published."
    if parity is None:
        yield "Its forms were not verified against each other before it was published."
    else:
        yield "Latency was measured on the machine below, where other work may have been running."
    yield from (scores or {}).get("warnings", ())


def _assets(line: list[Artifact]) -> Iterator[Asset]:
    names = {name for artifact in line for name in _asset_names(artifact.manifest["settings"])}
    for name in sorted(names):
        try:
            asset = assets.find(name)
        except DanluError:
            continue
        package = asset.packages[0]
        yield {"name": name, "version": asset.version, "sha256": package.sha256, "licence": asset.licence}


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
