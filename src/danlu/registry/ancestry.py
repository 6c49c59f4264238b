"""The artifacts that a version rests on, found again in the store by what its manifests say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.blocks.dataset import DataSet
from danlu.core.artifact import Artifact, Store
from danlu.registry.versions import Version

Manifest = Mapping[str, Any]


def model_manifest(version: Version) -> Manifest | None:
    """The manifest of the artifact whose files the version holds; None where it was not stored."""
    files = {path: file.sha256 for path, file in version.files.items()}
    manifest: Manifest
    for manifest in reversed(version.manifests):
        if {path: told["sha256"] for path, told in manifest["files"].items()} == files:
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
    """The manifest of the data set it was trained and measured on: the last one, where there are several."""
    return next((m for m in reversed(version.manifests) if m["kind"] == "dataset"), None)


def dataset(version: Version, store: Store) -> DataSet | None:
    """Its data set, checked; None where the artifact was cleaned away. Raises DataError when it was changed."""
    manifest = dataset_manifest(version)
    artifact = find(store, manifest) if manifest else None
    return DataSet.open(artifact.path) if artifact else None


def find(store: Store, manifest: Manifest) -> Artifact | None:
    """The artifact of a manifest, or one of equal content made under another key; every file is checked."""
    found = store.find(manifest["key"])
    if found is None or found.digest != manifest["digest"]:
        found = next((a for a in store.readable()[0] if a.digest == manifest["digest"]), None)
    if found:
        found.verify()
    return found
