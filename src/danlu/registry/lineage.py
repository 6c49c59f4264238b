"""From a version back to its data: what was made of what, told by the manifests that were stored when it was published.

So it can be told for as long as the version exists, also when the artifacts themselves were cleaned away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypeAlias, TypedDict

from danlu.registry.versions import Version

Manifest: TypeAlias = Mapping[str, Any]


class Node(TypedDict):
    """One thing that was made, and what it was made from: plain values, ready for JSON.

    `kind` is `version` at the root, below it what an artifact holds (`data`, `model` …); `name` is the reference or the
    step. `inputs` are by the name that the stage gives them; under the root by step.
    """

    kind: str
    name: str
    digest: str
    inputs: dict[str, Node]
    facts: NotRequired[dict[str, Any]]
    """The rest: of an artifact its manifest (stage, settings, code, files, numbers, machine, seconds, created), of a
    version its recipe, time and files. Left out where the same artifact stands in the tree above (`again`), or where
    its manifest was not stored (`missing`)."""
    again: NotRequired[bool]
    missing: NotRequired[bool]


_LINKS = ("kind", "step", "digest", "inputs")


def lineage(version: Version) -> Node:
    """The tree from a version to the recipe's sources; an artifact that is used twice is told once in full.

    The first branch is the model whose files the version holds, those after it are what was measured of it.
    """
    known = {manifest["key"]: manifest for manifest in version.manifests}
    used = {told["key"] for manifest in known.values() for told in manifest["inputs"].values()}
    model = model_manifest(version)
    tops = [model] if model else []
    tops += [manifest for key, manifest in known.items() if key not in used and manifest is not model]
    seen: set[str] = set()
    made_from = {manifest["step"]: _node(manifest, known, seen) for manifest in tops}
    files = {path: {"sha256": file.sha256, "size": file.size} for path, file in version.files.items()}
    facts = {"published": version.published, "recipe": version.metadata.get("recipe"), "files": files}
    if "origin" in version.metadata:
        facts["origin"] = version.metadata["origin"]
    return {"kind": "version", "name": version.reference, "digest": version.digest, "inputs": made_from, "facts": facts}


def _node(told: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], seen: set[str]) -> Node:
    node: Node = {"kind": told["kind"], "name": told["step"], "digest": told["digest"], "inputs": {}}
    if told["key"] in seen:
        return {**node, "again": True}
    seen.add(told["key"])
    manifest = known.get(told["key"])
    if manifest is None:
        return {**node, "missing": True}
    node["inputs"] = {name: _node(source, known, seen) for name, source in manifest["inputs"].items()}
    node["facts"] = {name: value for name, value in manifest.items() if name not in _LINKS}
    return node


def steps(version: Version) -> list[Node]:
    """The artifacts a version was made from, each once, every one after those it was made from."""
    found: list[Node] = []

    def walk(node: Node) -> None:
        for source in node["inputs"].values():
            walk(source)
        if "again" not in node:
            found.append(node)

    walk(lineage(version))
    return found[:-1]


# ---- single artifacts of it ------------------------------------------------------------------------------------------


def model_manifest(version: Version) -> Manifest | None:
    """The manifest of the artifact whose files the version holds; None where it was not stored."""
    files = {path: file.sha256 for path, file in version.files.items()}
    manifest: Manifest
    for manifest in reversed(version.manifests):
        if {path: told["sha256"] for path, told in manifest.get("files", {}).items()} == files:
            return manifest
    return None


def made_from(version: Version, last: Manifest) -> list[Manifest]:
    """`last` and all it was made from, parents first: the steps that decide what the model is."""
    known = {manifest["key"]: manifest for manifest in version.manifests}
    found: dict[str, Manifest] = {}

    def visit(key: str) -> None:
        if key in known and key not in found:
            for source in known[key]["inputs"].values():
                visit(source["key"])
            found[key] = known[key]

    visit(last["key"])
    return list(found.values())


def dataset_manifest(version: Version) -> Manifest | None:
    """The manifest of the data set it was trained and measured on."""
    return of_model(version.manifests)[0]


def of_model(manifests: Sequence[Manifest]) -> tuple[Manifest | None, Manifest | None]:
    """Of manifests, parents first: that of the data set which the last model was made with, and of its own training.

    The others are those of models and data sets that it began with, learnt from or was kept from forgetting.
    """
    by_key = {manifest["key"]: manifest for manifest in manifests}

    def source(manifest: Manifest | None, need: str) -> Manifest | None:
        told = (manifest or {}).get("inputs", {}).get(need)
        return by_key.get(told["key"]) if told else None

    model = next((m for m in reversed(manifests) if m["kind"] == "model"), None)
    data = source(model, "dataset") or next((m for m in reversed(manifests) if m["kind"] == "dataset"), None)
    while below := source(model, "model"):
        model = below
    return data, model
