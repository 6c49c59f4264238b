"""Make a version again from what its manifests recorded, in a store of its own, and tell what came out.

Only the steps that decide what the model is are run: what was measured of it changes no byte of it. Nothing of the
first time is reused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.core import plugin
from danlu.core.artifact import Artifact, Store
from danlu.core.errors import DanluError, DataError, Fault, RecipeFaults
from danlu.core.events import Events
from danlu.core.machine import facts
from danlu.core.plan import Plan, Step
from danlu.core.resolve import Versions, resolve_options
from danlu.registry.lineage import Manifest, made_from, model_manifest
from danlu.registry.versions import Version

_MACHINE = ("os", "python", "cpu", "threads", "cpu_flags", "gpus")


def reproduce(
    version: Version, opened: Path, store: Store, events: Events, versions: Versions | None = None
) -> dict[str, Any]:
    """Run the recorded steps in `store`, which should be new; `opened` holds the version's files, and `versions` tells
    of other versions that they took (`Registry.published`).

    Returns `{reference, same, forms, differs, steps, changed, answers}` in JSON values; see `compared`. Raises
    DataError when the manifests are not there or an input is gone, and what a stage raises.
    """
    last = model_manifest(version)
    if last is None:
        what = f"{version.reference} has no record of the steps that made its files"
        raise DataError(what, do="only a version that a recipe published can be made again")
    line = made_from(version, last)
    _check_whole(version, line)
    steps = tuple(_step(manifest, line, versions) for manifest in line)
    check_inputs(steps)
    made = Plan(steps, version.name).run(store, events)
    return compared(version, opened, line, {manifest["key"]: made[_name(manifest, line)] for manifest in line})


def _check_whole(version: Version, line: Sequence[Manifest]) -> None:
    known = {manifest["key"] for manifest in line}
    lost = [told["step"] for manifest in line for told in manifest["inputs"].values() if told["key"] not in known]
    if lost:
        raise DataError(f"the record of the step {lost[0]} was not stored with {version.reference}")


def _name(manifest: Manifest, line: Sequence[Manifest]) -> str:
    """The step's name, told apart from one of the same name in another recipe."""
    same = [one["key"] for one in line if one["step"] == manifest["step"]]
    return str(manifest["step"]) + "_" * same.index(manifest["key"])


def _step(manifest: Manifest, line: Sequence[Manifest], versions: Versions | None) -> Step:
    names = {one["key"]: _name(one, line) for one in line}
    faults: list[Fault] = []
    entry = plugin.find("stages", manifest["stage"])
    stage = resolve_options(entry, manifest["settings"], manifest["step"], faults, versions=versions)
    if faults:
        raise RecipeFaults(faults, where="the recorded settings")
    return Step(names[manifest["key"]], stage, {n: names[told["key"]] for n, told in manifest["inputs"].items()})


def check_inputs(steps: Sequence[Step]) -> None:
    """Raise DataError naming every file and model that the recorded settings point at and that can't be read now."""
    gone = []
    for step in steps:
        for where, pointer in step.stage.pointers(step.name):
            try:
                pointer.fingerprint()
            except (DanluError, OSError) as fault:
                gone.append(f"{where} = {pointer}: {getattr(fault, 'what', fault)}")
    if gone:
        do = "put it back where it was, or fetch it (danlu assets get NAME)"
        raise DataError(f"{len(gone)} of its inputs can't be read: {'; '.join(gone)}", do=do)


# ---- what came out ---------------------------------------------------------------------------------------------------


def compared(version: Version, opened: Path, line: Sequence[Manifest], made: Mapping[str, Artifact]) -> dict[str, Any]:
    """What came out, beside what was recorded.

    `forms`: form → the files that differ; `but_for_the_writer`: those in which only the version of Danlu that wrote
    them does, which count as the same. `steps`: each with whether it came out the same; `differs` is the first that
    did not, with its files. `changed`: what is not as it was: code, libraries, machine, the rows of the source, files
    that settings name. `answers`: how far those of the default form moved on the test rows.
    """
    model = made[line[-1]["key"]]
    files = {path: file.sha256 for path, file in version.files.items()}
    now = {path: told["sha256"] for path, told in model.manifest["files"].items()}
    other = sorted(path for path in files.keys() | now.keys() if files.get(path) != now.get(path))
    renamed = [path for path in other if path in now and _only_writer(opened / path, model.path / path)]
    other = [path for path in other if path not in renamed]
    steps = [{"step": m["step"], "same": m["digest"] == made[m["key"]].digest} for m in line]
    first = next((m for m in line if m["digest"] != made[m["key"]].digest), None)
    return {
        "reference": version.reference,
        "same": not other,
        "but_for_the_writer": renamed,
        "forms": {form: [path for path in other if path.startswith(f"{form}/")] for form in _forms(opened)},
        "other_files": [path for path in other if "/" not in path],
        "steps": steps,
        "differs": {"step": first["step"], "files": _files_that_differ(first, made[first["key"]])} if first else None,
        "changed": dict(_changed(version, line, made)),
        "answers": _answers(opened, model, line, made) if other else None,
    }


def _only_writer(before: Path, after: Path) -> bool:
    """Whether two `bundle.json` say the same but for the version of Danlu that wrote them."""
    if before.name != "bundle.json":
        return False
    one, other = (json.loads(path.read_bytes()) for path in (before, after))
    return {**one, "danlu": ""} == {**other, "danlu": ""}


def _forms(opened: Path) -> tuple[str, ...]:
    return bundle.Forms.open(opened).names


def _files_that_differ(manifest: Manifest, artifact: Artifact) -> list[str]:
    before = {path: told["sha256"] for path, told in manifest["files"].items()}
    after = {path: told["sha256"] for path, told in artifact.manifest["files"].items()}
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _changed(
    version: Version, line: Sequence[Manifest], made: Mapping[str, Artifact]
) -> Iterator[tuple[str, list[Any]]]:
    """Name → [then, now] of what a result depends on."""
    then, now = line[-1].get("machine", {}), facts()
    for name in _MACHINE:
        if then.get(name) != now[name]:
            yield name, [then.get(name), now[name]]
    libraries = then.get("libraries", {})
    for name in sorted(libraries.keys() | now["libraries"].keys()):
        if libraries.get(name) != now["libraries"].get(name):
            yield name, [libraries.get(name), now["libraries"].get(name)]
    for manifest in line:
        artifact = made[manifest["key"]]
        same_code = manifest.get("code") == artifact.manifest["code"]
        for name, identity in artifact.manifest["code"].items():
            if not _same_code(manifest.get("code", {}).get(name), identity):
                yield f"code of {name}", [manifest.get("code", {}).get(name), identity]
        before = {name: told["digest"] for name, told in manifest["inputs"].items()}
        after = {name: told["digest"] for name, told in artifact.manifest["inputs"].items()}
        if same_code and before == after and manifest["key"] != artifact.key:
            yield f"files that {manifest['step']} names", ["(as recorded)", _pointed(artifact)]
        if artifact.kind == "dataset":
            rows = DataSet.open(artifact.path).info["source"].get("fingerprint")
            if version.metadata.get("data", {}).get("fingerprint") not in (None, rows):
                yield "rows of the source (digest)", [version.metadata["data"]["fingerprint"], rows]


def _same_code(before: str | None, after: str) -> bool:
    """Our own plug-ins are `danlu VERSION vN`: Danlu's version is told once, of them only their own counts."""
    if before and before.startswith("danlu ") and after.startswith("danlu "):
        return before.rpartition(" ")[2] == after.rpartition(" ")[2]
    return before == after


def _pointed(artifact: Artifact) -> str:
    entry = plugin.find("stages", artifact.manifest["stage"])
    choice = resolve_options(entry, artifact.manifest["settings"], artifact.manifest["step"], [])
    return ", ".join(str(pointer) for _, pointer in choice.pointers(artifact.manifest["step"])) or "nothing"


def _answers(
    opened: Path, model: Artifact, line: Sequence[Manifest], made: Mapping[str, Artifact]
) -> dict[str, Any] | None:
    """How far the answers of the default form moved on the test rows that were made again."""
    data = next((made[m["key"]] for m in reversed(line) if m["kind"] == "dataset"), None)
    if data is None:
        return None
    before, after = (bundle.Forms.open(folder) for folder in (opened, model.path))
    if before.default not in after.names:
        return None
    inputs, _ = DataSet.open(data.path).judged("test")
    asked = [bundle.load(forms.folder(before.default)) for forms in (before, after)]
    answers = [predictor(inputs) for predictor in asked]
    distances = np.array([asked[0].task.distance(a, b) for a, b in zip(*answers, strict=True)])
    labels = [[a["label"] if isinstance(a, Mapping) and "label" in a else a for a in side] for side in answers]
    changed = sum(a != b for a, b in zip(*labels, strict=True))
    greatest, middle = float(distances.max()), float(np.median(distances))
    return {"form": before.default, "rows": len(inputs), "greatest": greatest, "median": middle, "changed": changed}
