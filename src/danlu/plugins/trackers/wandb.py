"""Weights & Biases, offline: the curves and figures of a run, in a folder that `wandb sync` can send."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PrivateAttr

from danlu.blocks.curves import at_step, finite_numbers
from danlu.contracts import Tracker
from danlu.core.events import Event
from danlu.core.plugin import lazy

_EXTRA = "wandb"
_wandb: Any = lazy("wandb", extra=_EXTRA)


class Wandb(Tracker):
    """Nothing leaves the machine unless `mode` is `online`; `wandb sync FOLDER` sends a run later.

    What a step says while it runs is `step/name` over `step/step`, its training steps; what it ends with is in the
    run's summary as `step/result/name`.
    """

    main: ClassVar[str] = "folder"
    extra: ClassVar[str] = _EXTRA

    folder: str = "."
    """Where the folder `wandb` of its runs lies; relative to the working folder."""
    project: str = "danlu"
    """The project the run belongs to."""
    mode: Literal["offline", "online"] = "offline"
    """`online` sends while it runs, with the key that `wandb login` keeps."""

    _run: Any = PrivateAttr(None)

    def model_post_init(self, _: Any) -> None:
        """Raises MachineError, which names what to install, before anything runs."""
        _ = _wandb.init

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self.close()
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            name = f"{event.data['name'] or 'run'}-{event.data['id']}"
            settings = _wandb.Settings(silent=True, console="off", save_code=False, disable_git=True)
            options = {"project": self.project, "mode": self.mode, "dir": self.folder, "settings": settings}
            self._run = _wandb.init(name=name, config={"danlu_run": event.data["id"]}, **options)
        elif self._run is not None and event.kind == "numbers":
            step, numbers = at_step(event.data)
            told = finite_numbers(numbers, event.step)
            if told:
                self._run.define_metric(f"{event.step}/*", step_metric=f"{event.step}/step")
                self._run.log({**told, f"{event.step}/step": step})
        elif self._run is not None and event.kind in ("step_done", "step_reused"):
            numbers = {**event.data["numbers"], "seconds": event.data["seconds"]}
            self._run.summary.update(finite_numbers(numbers, f"{event.step}/result"))

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
        self._run = None
