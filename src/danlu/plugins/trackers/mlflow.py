"""MLflow: a run with its settings, curves, results, report and model card, on a server or in a folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

from danlu.blocks.curves import at_step, finite_numbers, made, settings_by_path
from danlu.contracts import Tracker
from danlu.core.events import Event
from danlu.core.plugin import lazy

_tracking: Any = lazy("mlflow.tracking", extra="mlflow")
_entities: Any = lazy("mlflow.entities", extra="mlflow")

_LONGEST = 6000  # characters of a value that MLflow takes
_AT_ONCE = 100  # settings in one call, as many as MLflow takes
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]", re.ASCII)
_SHOWN = {"scores": ("report.html", "scores.json"), "version": ("card.md", "card.html"), "parity": ("parity.json",)}
_ENDED = {"done": "FINISHED", "interrupted": "KILLED"}


@dataclass
class _Run:
    client: Any
    id: str
    store: str
    keys: dict[str, str] = field(default_factory=dict)


class MLflow(Tracker):
    """Settings are parameters by the path an override gives them, numbers are metrics over their training step.

    The tags `danlu.run`, `danlu.store` and, of every step, `danlu.<step>.digest` lead back to what was made; the report
    and the model card are its artifacts. Models are not copied: `danlu.blocks.mlflow_model.save` writes one.
    """

    main: ClassVar[str] = "uri"
    extra: ClassVar[str] = "mlflow"

    uri: str = ""
    """Where MLflow keeps runs, such as `http://localhost:5000` or `./mlruns`; by default MLFLOW_TRACKING_URI, else the
    folder `mlruns` in the working folder."""
    experiment: str = ""
    """The experiment the run is put in, made when missing; by default the recipe's name."""

    _run: _Run | None = PrivateAttr(None)

    def model_post_init(self, _: Any) -> None:
        """Raises MachineError, which names what to install, before anything runs."""
        _ = _tracking.MlflowClient

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self._run = self._started(event)
        elif run := self._run:
            match event.kind:
                case "step_started" | "step_reused":
                    run.keys[event.step] = event.data["key"]
                case "numbers":
                    step, numbers = at_step(event.data)
                    _log(run, event, finite_numbers(numbers, event.step), step)
                case "run_done":
                    run.client.set_terminated(run.id, _ENDED.get(event.data["status"], "FAILED"))
                    self._run = None
            if event.kind in ("step_done", "step_reused"):
                _ended(run, event)

    def _started(self, event: Event) -> _Run:
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or "mlruns"
        if "://" not in uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3.9 asks whoever wants a folder to say so
            uri = Path(uri).absolute().as_uri()
        client = _tracking.MlflowClient(tracking_uri=uri)
        name = self.experiment or event.data["name"] or "danlu"
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        tags = {"danlu.run": event.data["id"], "danlu.store": event.data["store"], "danlu.recipe": event.data["name"]}
        started = client.create_run(experiment, run_name=event.data["id"], start_time=int(event.at * 1000), tags=tags)
        return _Run(client, started.info.run_id, event.data["store"])

    def close(self) -> None:
        if self._run:
            self._run.client.set_terminated(self._run.id, "FAILED")
        self._run = None


def _log(run: _Run, event: Event, numbers: dict[str, float], step: int) -> None:
    at = int(event.at * 1000)
    metrics = [_entities.Metric(_NOT_IN_NAMES.sub("_", name), number, at, step) for name, number in numbers.items()]
    if metrics:
        run.client.log_batch(run.id, metrics=metrics)


def _ended(run: _Run, event: Event) -> None:
    """The results of a step, and what its artifact tells: settings, where they lead to, and pages to read."""
    _log(run, event, finite_numbers(event.data["numbers"], f"{event.step}/result"), 0)
    artifact = made(run.store, run.keys.get(event.step, ""))
    if artifact is None:
        return
    run.client.set_tag(run.id, f"danlu.{event.step}.digest", artifact.digest)
    if artifact.kind == "version":
        run.client.set_tag(run.id, "danlu.version", artifact.json("version.json")["reference"])
    settings = settings_by_path(artifact.manifest["settings"], event.step)
    params = [_entities.Param(_NOT_IN_NAMES.sub("_", n), value[:_LONGEST]) for n, value in settings.items()]
    for start in range(0, len(params), _AT_ONCE):
        run.client.log_batch(run.id, params=params[start : start + _AT_ONCE])
    for name in _SHOWN.get(artifact.kind, ()):
        run.client.log_artifact(run.id, str(artifact.file(name)), event.step)
