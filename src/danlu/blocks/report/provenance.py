"""What a report's numbers rest on: data, steps, code and machine, from the artifacts' own manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from danlu.core.artifact import Artifact

_MACHINE = ("cpu", "threads", "memory_total", "os", "python", "gpus")


def rests_on(line: Iterable[Artifact], data: Mapping[str, Any], judging: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Groups of facts, `{title, facts: {name: value}}`.

    `line` are the artifacts that were judged and all they were made from, parents first; `data` is `dataset.json`,
    `judging` what the judging step itself was told.
    """
    made = list(line)
    groups = [_group("Data", _data(data))]
    groups += [_group(f"Step {a.manifest['step']}: {a.manifest['stage']}", _step(a)) for a in made]
    return [*groups, _group("This evaluation", judging), _group("Code and machine", _machine(made[-1].manifest))]


def _group(title: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": title, "facts": {name: value for name, value in facts.items() if value not in (None, "", [], {})}}


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    source = {name: options for name, options in data["source"].items() if name != "fingerprint"}
    rows = ", ".join(f"{rows:,} {split}" for split, rows in data["rows"].items())
    return {
        "source": source,
        "rows as read": f"sha256 {data['source'].get('fingerprint', '')}",
        "rows kept": rows,
        "cut": data["split"],
        **{f"{split} rows": f"sha256 {digest}" for split, digest in data["digests"].items()},
    }


def _step(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    plain = {name: value for name, value in manifest["settings"].items() if name not in ("source", "split")}
    return {**plain, "seconds": f"{manifest['seconds']:,.1f}", "artifact": f"sha256 {artifact.digest}"}


def _machine(manifest: Mapping[str, Any]) -> dict[str, Any]:
    machine = manifest["machine"]
    told = {name.replace("_", " "): machine.get(name) for name in _MACHINE}
    told["memory total"] = f"{machine['memory_total'] / 2**30:.0f} GiB"
    return {"danlu": manifest["code"].get("danlu"), **told, "libraries": machine.get("libraries")}
