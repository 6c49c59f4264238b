"""Steps in order, each run only where what it would make is not there already.

A step's key is the SHA-256 of all its settings (defaults and seed included), of the content of every file they name, of
the code of every plug-in in it, and of the digests of its inputs. So a known key means the same result, and a change
makes a new key: for this step, and for those that build on it if its result is another.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from danlu.core import plugin
from danlu.core.artifact import Artifact, Store
from danlu.core.canonical import to_json
from danlu.core.errors import DanluError, DataError, Fault, MachineError, RecipeError, RecipeFaults
from danlu.core.events import Events
from danlu.core.files import disk_faults, sha256_bytes
from danlu.core.place import make_place
from danlu.core.resolve import Choice
from danlu.core.runs import Recorder, recording

_KEY_FORMAT = 1  # raised when keys are made of other things than before


@dataclass(frozen=True)
class Step:
    """One step of a plan: its name, its stage with every option settled, and the steps its inputs come from."""

    name: str
    stage: Choice
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of artifact it makes."""
        return str(self.stage.entry.facts["makes"])

    def key(self, identity: Mapping[str, Any], inputs: Mapping[str, Artifact]) -> str:
        """What goes in, as 64 hexadecimal digits; `identity` is that of its stage."""
        digests = {name: artifact.digest for name, artifact in inputs.items()}
        return sha256_bytes(to_json([_KEY_FORMAT, plugin.code_identity(), identity, digests]))

    def models(self, inputs: Mapping[str, Artifact]) -> dict[str, Path]:
        """The folders of the models and data sets that its plug-ins take from steps above, by `$step`."""
        return {name: artifact.path for name, artifact in inputs.items() if name.startswith("$")}

    def make(self, inputs: Mapping[str, Artifact]) -> Any:
        """Its stage, to be run with these inputs."""
        return self.stage.filled(self.models(inputs)).make(self.name)

    def about(self, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
        """What a manifest tells of it."""
        plugins = [self.stage, *(choice for _, choice in self.stage.nested(self.name))]
        code = {f"{choice.family}/{choice.name}": plugin.identity(choice.entry) for choice in plugins}
        told = {
            n: {"key": a.key, "digest": a.digest, "kind": a.kind, "step": a.manifest["step"]} for n, a in inputs.items()
        }
        return {
            "step": self.name,
            "stage": self.stage.name,
            "kind": self.kind,
            "settings": self.stage.plain()[self.stage.name],
            "code": {"danlu": plugin.code_identity(), **code},
            "inputs": told,
        }


@dataclass(frozen=True)
class Preview:
    """What a run would do with a step: `reused`, `will run`, `refused` for an artifact that is damaged, or `unknown`
    until a step above it has run."""

    step: Step
    status: Literal["reused", "will run", "refused", "unknown"]
    key: str = ""
    waits_for: tuple[str, ...] = ()
    """The steps above that must run before this one's key is known."""
    artifact: Artifact | None = None
    fault: DataError | None = None
    """What a run would refuse it for."""


@dataclass(frozen=True)
class Plan:
    """The steps of a recipe in the order they run; every input comes from a step before."""

    steps: tuple[Step, ...]
    name: str = ""
    path: Path | None = None
    text: str = ""
    overrides: tuple[str, ...] = ()

    def only(self, names: Iterable[str]) -> Plan:
        """The plan of the named steps and those they rest on; the whole plan where none is named.

        Raises RecipeError for a name that is no step of it.
        """
        found = {step.name: step for step in self.steps}
        wanted, kept = list(names), set[str]()
        if not wanted:
            return self
        while wanted:
            name = wanted.pop()
            if name not in found:
                what = f"the recipe has no step {name!r}{plugin.did_you_mean(name, list(found))}"
                raise RecipeError(what, where="--steps", do=f"the steps are {', '.join(found)}")
            kept.add(name)
            wanted += found[name].inputs.values()
        return replace(self, steps=tuple(step for step in self.steps if step.name in kept))

    def preview(self, store: Store) -> list[Preview]:
        """What a run would do now. Nothing is run; what would be reused is checked against its digests, as in a run.

        Raises DataError when a file of the data is missing, MachineError when an asset must be fetched first.
        """
        return _previews(self.steps, self._identities(), store)

    def run(self, store: Store, events: Events | None = None) -> dict[str, Artifact]:
        """Run what must be run; returns step name → artifact.

        Whatever goes wrong, finished steps stay, and a step that keeps checkpoints goes on from its last one next time.
        Raises what a stage raises; MachineError for a full disk or memory; KeyboardInterrupt as it comes.
        """
        events = events or Events.silent()
        about = {"name": self.name, "path": str(self.path or ""), "overrides": self.overrides}
        make_place(store.path)
        store.sweep()
        with recording(store.runs, events, self.text, **about, code=plugin.code_identity()) as record:
            return _Execution(self, store, events, record).run()

    def _identities(self) -> dict[str, dict[str, Any]]:
        return {step.name: step.stage.identity() for step in self.steps}


def _previews(steps: tuple[Step, ...], identities: Mapping[str, Mapping[str, Any]], store: Store) -> list[Preview]:
    known: dict[str, Artifact] = {}
    previews = []
    for step in steps:
        if missing := tuple(dict.fromkeys(source for source in step.inputs.values() if source not in known)):
            previews.append(Preview(step, "unknown", waits_for=missing))
            continue
        key = step.key(identities[step.name], {name: known[source] for name, source in step.inputs.items()})
        try:
            artifact = _reusable(step, key, store)
        except DataError as fault:
            previews.append(Preview(step, "refused", key, fault=fault))
            continue
        if artifact:
            known[step.name] = artifact
        previews.append(Preview(step, "reused" if artifact else "will run", key, artifact=artifact))
    return previews


def _reusable(step: Step, key: str, store: Store) -> Artifact | None:
    """The artifact of a key that is in force. Raises DataError when it is damaged."""
    artifact = _standing(step, key, store)
    if artifact:
        artifact.verify()
    return artifact


def _standing(step: Step, key: str, store: Store) -> Artifact | None:
    """The artifact of a key, unless its stage says that it is no longer in force."""
    artifact = store.find(key)
    if (
        artifact
        and "still" in step.stage.entry.overrides
        and not step.stage.make(step.name).still(artifact, store.path)
    ):
        return None
    return artifact


class _Execution:
    """One run of a plan."""

    def __init__(self, plan: Plan, store: Store, events: Events, record: Recorder) -> None:
        self.plan, self.store, self.events, self.record = plan, store, events, record
        self.done: dict[str, Artifact] = {}

    def run(self) -> dict[str, Artifact]:
        steps = {step.name: step.stage.name for step in self.plan.steps}
        self.events.emit(
            "run_started", id=self.record.id, name=self.plan.name, store=str(self.store.path), steps=steps,
        )  # fmt: skip
        try:
            self.identities = self.plan._identities()
            self.stages = self.make_stages()
            for step in self.plan.steps:
                self.done[step.name] = self.told(step)
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.events.emit("run_done", status=status, seconds=self.record.seconds)
            raise
        self.events.emit("run_done", status="done", seconds=self.record.seconds)
        return self.done

    def make_stages(self) -> dict[str, Any]:
        """Every plug-in of every step that may run, so that one that can't be made is told before anything starts."""
        stages, faults = {}, list[Fault]()
        for preview in _previews(self.plan.steps, self.identities, self.store):
            name = preview.step.name
            try:
                if preview.status in ("will run", "unknown"):
                    stages[name] = preview.step.stage.make(name)
            except RecipeFaults as refused:
                faults += refused.faults
        if faults:
            raise RecipeFaults(faults, where=str(self.plan.path or "recipe"))
        return stages

    def told(self, step: Step) -> Artifact:
        """The artifact of a step; a failure is said on the events."""
        events, began = self.events.step_events(step.name), time.monotonic()
        try:
            return self.step(step, events)
        except BaseException as error:
            explained = _explained(error, step)
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            events.emit("step_failed", status=status, error=str(explained), seconds=time.monotonic() - began)
            if explained is error:
                raise
            raise explained from error

    def step(self, step: Step, events: Events) -> Artifact:
        inputs = {name: self.done[source] for name, source in step.inputs.items()}
        key = step.key(self.identities[step.name], inputs)
        with self.store.choosing():
            self.record.step(step.name, stage=step.stage.name, kind=step.kind, key=key, status="running")
        artifact = _reusable(step, key, self.store)
        if artifact is None:
            with self.alone(key, events):
                artifact = _reusable(step, key, self.store)
                if artifact is None:
                    return self.make(step, key, inputs, events)
        self.record.step(step.name, status="reused", digest=artifact.digest, seconds=0.0)
        events.emit(
            "step_reused",
            stage=step.stage.name,
            key=key,
            numbers=artifact.numbers,
            seconds=artifact.manifest["seconds"],
        )
        return artifact

    @contextmanager
    def alone(self, key: str, events: Events) -> Iterator[None]:
        with ExitStack() as held:
            try:
                held.enter_context(self.store.lock(key, wait=False))
            except BlockingIOError:
                events.note("another run is making this just now; waiting for it")
                held.enter_context(self.store.lock(key))
            yield

    def make(self, step: Step, key: str, inputs: Mapping[str, Artifact], events: Events) -> Artifact:
        began = time.monotonic()
        events.emit("step_started", stage=step.stage.name, key=key)
        content = _content(step)
        draft = self.store.draft(key, **step.about(inputs))
        try:
            with disk_faults(draft.path):
                stage = self.stages.get(step.name) if not step.models(inputs) else None
                stage = stage or step.make(inputs)
                stage.run(inputs, draft, events)
            _check_unchanged(step, content)
            artifact = draft.commit()
        except BaseException:
            draft.abandon()
            raise
        seconds = round(time.monotonic() - began, 3)
        self.record.step(step.name, status="done", digest=artifact.digest, seconds=seconds)
        events.emit("step_done", digest=artifact.digest, seconds=seconds, numbers=artifact.numbers, notes=draft.notes)
        return artifact


def _content(step: Step) -> dict[str, str]:
    return {where: pointer.fingerprint() for where, pointer in step.stage.pointers(step.name)}


def _check_unchanged(step: Step, content: Mapping[str, str]) -> None:
    """What was made of files that changed meanwhile has no honest key."""
    for where, pointer in step.stage.pointers(step.name):
        if pointer.fingerprint() != content[where]:
            raise DataError(f"{pointer} was changed while the step ran", where=where, do="run again")


def _explained(error: BaseException, step: Step) -> BaseException:
    """A full disk or memory, however a library words it, as a MachineError; anything else as it is.

    A plug-in that names an option knows nothing of its step: the step is put before it, so that the mend can be pasted
    behind `danlu run`.
    """
    name = step.name
    if isinstance(error, DanluError):
        options = step.stage.settings
        if isinstance(error, RecipeError):  # with others it may be a file of such a name
            error.where = _within(name, error.where, options, ".")
        error.where = error.where or name
        error.do = _within(name, error.do, options, ".=")
        return error
    text = str(error)
    if f"[Errno {errno.ENOSPC}]" in text or "No space left on device" in text:
        return MachineError("the disk is full", where=name, do="`danlu clean` shows what can go; or use --store")
    if isinstance(error, MemoryError) or "out of memory" in text or "not enough memory" in text:
        return MachineError(f"the memory is full: {text}", where=name, do=f"{name}.batch_size=8, or a smaller model")
    return error


def _within(step: str, told: str, options: Iterable[str], ends: str) -> str:
    """The step before what begins with one of its options, itself ended by one of `ends` or by nothing more."""
    first = re.match(r"\w+", told)
    named = first is not None and first[0] in options and (told[first.end() :] or ends)[0] in ends
    return f"{step}.{told}" if named else told
