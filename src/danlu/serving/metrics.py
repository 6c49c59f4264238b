"""What is counted while serving, as Prometheus reads it. Labels come from short lists that callers cannot lengthen."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

_SECONDS = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5,
            0.75, 1.0, 2.0, 5.0, 10.0, 30.0)  # fmt: skip
_INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The numbers of one server, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Requests answered, by route and status", "route", "status")
        self.refused = self._counter("refused", "Requests that were not answered as asked, by kind", "kind")
        self.inputs = self._counter("inputs", "Inputs, by model and outcome", "model", "outcome")
        self.swaps = self._counter("swaps", "Changes of the version that answers", "model", "outcome")
        self.seconds = self._histogram("request_seconds", "Seconds from the request's head to its answer", "route")
        self.in_flight = Gauge("danlu_requests_in_flight", "Requests being answered", registry=self.registry)
        self._batches = self._histogram("batch_inputs", "Inputs a batch", "model", buckets=_INPUTS)
        self._batch_seconds = self._histogram("batch_seconds", "Seconds a batch took", "model")
        self._queue = Gauge("danlu_queue_inputs", "Inputs that wait", ["model"], registry=self.registry)
        names = ["model", "version", "alias", "task", "form"]
        self._version = Gauge("danlu_model_info", "The version that answers", names, registry=self.registry)
        self._versions: dict[str, tuple[str, ...]] = {}

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"danlu_{name}_total", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(f"danlu_{name}", what, labels, registry=self.registry, buckets=buckets)

    def host(self, model: str, waiting: Callable[[], int]) -> None:
        """Count for a model from now on; `waiting` tells how many inputs wait."""
        self._queue.labels(model).set_function(waiting)
        for outcome in ("answered", "failed"):
            self.inputs.labels(model, outcome)
        for outcome in ("done", "failed"):
            self.swaps.labels(model, outcome)

    def batch(self, model: str, inputs: int, seconds: float) -> None:
        """A batch was run."""
        self._batches.labels(model).observe(inputs)
        self._batch_seconds.labels(model).observe(seconds)

    def version(self, model: str, version: str, alias: str, task: str, form: str) -> None:
        """A version answers now; the series of the one before goes."""
        labels = (model, version, alias, task, form)
        if model in self._versions and self._versions[model] != labels:
            self._version.remove(*self._versions[model])
        self._versions[model] = labels
        self._version.labels(*labels).set(1)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)
