"""What a published version knows of itself: the shape that the publish stage fills and the model card shows.

Plain JSON. Every part may be missing; the card then says that it was not recorded, and nothing is made up.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Interval(TypedDict):
    """A measured number with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Split(TypedDict, total=False):
    """One split of the data set: how many rows, and the SHA-256 over its row digests."""

    rows: int
    digest: str


class Data(TypedDict, total=False):
    """What it was trained and measured on. `fingerprint` identifies the source before preparation."""

    source: str
    fingerprint: str
    licence: str
    splits: dict[str, Split]


class Parity(TypedDict, total=False):
    """How far a form's answers are from those of another form, on the frozen test set.

    Distances are the task's own, without unit, 0 to 1; `labels_changed` is a share, 0 to 1.
    """

    against: str
    rows: int
    greatest: float
    p99: float
    tolerance: float
    labels_changed: float
    passed: bool


class Form(TypedDict, total=False):
    """One form of the model: trained, merged, ONNX, served … The one that is served is the `default`.

    `latency_ms` is the time for one input in milliseconds, by batch size: `{"1": 6.2, "32": 3.4}`.
    """

    name: str
    default: bool
    bytes: int
    metrics: dict[str, Interval | float]
    latency_ms: dict[str, float]
    parity: Parity


class Baseline(TypedDict, total=False):
    """A simple model on the same splits, for comparison."""

    name: str
    metrics: dict[str, Interval | float]


class Asset(TypedDict, total=False):
    """Something made by others that is in the model or was used for it."""

    name: str
    version: str
    sha256: str
    licence: str
    url: str


class Sample(TypedDict):
    """An input of a request and the answer of the served form, as JSON; a server asks it before a version answers."""

    input: Any
    answer: Any


class Metadata(TypedDict, total=False):
    """All parts. `recipe` is its YAML text, `limits` are sentences: what the numbers rest on and what was not tried."""

    description: str
    task: str
    labels: list[str]
    data: Data
    recipe: str
    training: dict[str, Any]
    required: dict[str, str]
    forms: list[Form]
    baselines: list[Baseline]
    limits: list[str]
    machine: dict[str, Any]
    libraries: dict[str, str]
    licence: str
    assets: list[Asset]
    sample: list[Sample]
