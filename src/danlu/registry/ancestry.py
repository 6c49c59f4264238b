"""The artifacts that a version rests on, found again in the store by what its manifests say."""

from __future__ import annotations

import re

from danlu.blocks.dataset import DataSet
from danlu.core.artifact import Artifact, Store
from danlu.registry.lineage import Manifest, dataset_manifest
from danlu.registry.versions import Version

_KEY = re.compile(r"[0-9a-f]{64}")


def dataset(version: Version, store: Store) -> DataSet | None:
    """Its data set, checked; None where the artifact was cleaned away. Raises DataError when it was changed."""
    manifest = dataset_manifest(version)
    artifact = find(store, manifest) if manifest else None
    return DataSet.open(artifact.path) if artifact else None


def find(store: Store, manifest: Manifest) -> Artifact | None:
    """The artifact of a manifest, or one of equal content made under another key; every file is checked."""
    key = str(manifest["key"])
    found = store.find(key) if _KEY.fullmatch(key) else None  # that of an imported version may say anything
    if found is None or found.digest != manifest["digest"]:
        found = next((a for a in store.readable()[0] if a.digest == manifest["digest"]), None)
    if found:
        found.verify()
    return found
