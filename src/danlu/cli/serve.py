"""`danlu serve`: published models over HTTP, which follow their aliases."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import ImportOption, StoreOption, note, say
from danlu.cli.registry import open_registry
from danlu.core import machine
from danlu.core.errors import RecipeError
from danlu.core.plugin import add_file, lazy

bundle = lazy("danlu.bundle")
registry_versions = lazy("danlu.registry.versions")
door = lazy("danlu.serving.door")
front = lazy("danlu.serving.front")
hosting = lazy("danlu.serving.hosting")
lone = lazy("danlu.serving.lone")
shared_weights = lazy("danlu.blocks.shared_weights")
metrics = lazy("danlu.serving.metrics")
server = lazy("danlu.serving.server")
wire = lazy("danlu.serving.wire")

_BATCH = 8


class Log(StrEnum):
    """What `--log` takes."""

    QUIET = "quiet"
    JSON = "json"


@dataclass(frozen=True)
class Published:
    """Where the versions of a served model come from: the registry. One asked for by number never changes."""

    registry: Any
    name: str
    alias: str
    number: int
    form: str = ""
    threads: int = 1
    shared: Any = None
    """Where models of one process find the backbone that they have in common."""

    def wanted(self) -> int:
        """The version that the alias points to now."""
        if not self.alias:
            return self.number
        return int(self.registry.aliases(self.name).get(self.alias, self.number))

    def load(self, number: int) -> Any:
        """A version, every byte checked, with the sample that was stored when it was published."""
        version = self.registry.version(self.name, number)
        forms = bundle.Forms.open(self.registry.open(version))
        form = self.form or forms.default
        if form not in forms.names:
            what = f"{version.reference} has no form {form!r}"
            raise RecipeError(what, where="--form", do=f"one of: {', '.join(forms.names)}")
        tolerance = forms.spec(form).tolerance
        folder = forms.folder(form)
        how = {"threads": self.threads, "shared": self.shared}
        predictor = bundle.load(folder, batch_size=_BATCH, check=False, **how)
        shared = "threads" in bundle.describe(folder).form.settings
        workers = max(1, machine.cpu_threads() // self.threads) if shared else 1
        if workers > 1:
            predictor.form = lone.LoneForm(predictor.form, bundle.load(folder, check=False).form)
        sample = version.metadata.get("sample", ()) if form == forms.default else ()
        return hosting.Loaded(version.reference, number, form, predictor, sample, tolerance, workers)


def read_served(registry: Any, references: list[str], form: str = "", threads: int = 1) -> list[Published]:
    """What is to be served, by `name`, `name@3` or `name@alias`. Raises RecipeError for what is not there."""
    found: list[Published] = []
    shared = shared_weights.SharedWeights()
    for reference in references:
        version = registry.resolve(reference)
        choice = registry_versions.read_reference(reference)[1]
        alias = choice if isinstance(choice, str) else ""
        if version.name in {one.name for one in found}:
            raise RecipeError(f"{version.name} is named twice, and it has one path", do="start another server for it")
        found.append(Published(registry, version.name, alias, version.number, form, threads, shared))
    return found


def serve(
    references: Annotated[
        list[str],
        typer.Argument(help="`name` (its production version), `name@3` or `name@alias`.", metavar="NAME[@VERSION]..."),
    ],
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0: any free one.")] = 8000,
    form: Annotated[str, typer.Option("--form", help="A form of the models, such as `trained`; else theirs.")] = "",
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="Ask for one of the keys in this file, one a line.")
    ] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Let anybody who reaches the port ask, also from other machines.")
    ] = False,
    threads: Annotated[
        int,
        typer.Option(
            "--threads", min=1, help="Cores of one batch; more answer a single caller of a large model sooner."
        ),
    ] = 1,
    max_inputs: Annotated[int, typer.Option("--max-inputs", min=1, help="Inputs in one request.")] = 256,
    max_body: Annotated[int, typer.Option("--max-body", min=1, help="MiB of one request.")] = 8,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Inputs that may wait for one model.")] = 1024,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for one answer.")] = 30.0,
    log: Annotated[Log, typer.Option("--log", help="`json`: one line a request, on standard error.")] = Log.QUIET,
    store: StoreOption = None,
    imports: ImportOption = None,
) -> None:
    """Serve published models over HTTP. A served alias is followed: `promote` and `rollback` need no restart.

    Example:  danlu serve review-sentiment --port 8000
    """
    machine.tune_threads_env()
    for path in imports or ():
        add_file(path)
    keys = door.read_keys(api_key_file) if api_key_file else None
    limits = wire.Limits(
        inputs=max_inputs, body=max_body * 2**20, waiting=max(queue, max_inputs), answer_seconds=timeout
    )
    with server.bind(host, port) as bound:
        if not (keys or no_key or server.is_local(bound)):
            what = f"{host} can be reached from other machines, and there is no key"
            raise RecipeError(what, do="--api-key-file FILE; or --no-key, knowingly")
        sources = read_served(open_registry(store), references, form, threads)
        numbers = metrics.Metrics()
        _set_up_log(log)
        state = front.State([hosting.Model(source, limits, numbers) for source in sources], limits, numbers)
        server.serve(state, bound, keys=keys, started=lambda: _greet(state, bound, keyed=keys is not None))
    note("stopped")


def _greet(state: Any, bound: Any, *, keyed: bool) -> None:
    host, port = bound.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    for model in state.models:
        told = model.told()
        follows = f", follows {model.name}@{told['alias']}" if told["alias"] else ""
        say(f"{told['version']}, form {told['form']}, {told['task']}{follows}")
    for models, size in state.models[0].source.shared.told():
        if models > 1:
            say(f"{models} of them stand on the same {size / 1e6:,.0f} MB of weights, held once")
    model = state.models[0]
    task = model.current.loaded.predictor.task
    one = json.dumps({"input": task.to_json(task.ask(task.sample(1)[0]))})
    path = wire.PREDICT if len(state.models) == 1 else front.predict_path(model)
    key = " -H 'x-api-key: KEY'" if keyed else ""
    body = one.replace("'", "'\\''")
    say(f"\n  curl {url}{path}{key} -H 'content-type: application/json' -d '{body}'\n")
    say(f"{url}  (/docs, /v1/models, /metrics; Ctrl-C ends it)")


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {"at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower()}
        told |= getattr(record, "told", None) or {"message": record.getMessage()}
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _set_up_log(log: Log) -> None:
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    handler.setFormatter(_JsonLines() if log is Log.JSON else text)
    for name, level in (("danlu", logging.INFO), ("uvicorn", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    logging.getLogger("danlu.serving.access").setLevel(logging.INFO if log is Log.JSON else logging.WARNING)
