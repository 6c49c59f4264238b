"""TensorBoard: the curves of a run, and the figures of its steps, in TensorBoard's own event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

from danlu.blocks.curves import at_step, finite_numbers
from danlu.contracts import Tracker
from danlu.core.events import Event
from danlu.core.plugin import lazy

_EXTRA = "tensorboard"
# The writer is TensorBoard's own: torch's brings torch, which a run that reuses everything never imports.
_writer: Any = lazy("tensorboard.summary.writer.event_file_writer", extra=_EXTRA)
_event: Any = lazy("tensorboard.compat.proto.event_pb2", extra=_EXTRA)
_summary: Any = lazy("tensorboard.compat.proto.summary_pb2", extra=_EXTRA)


class TensorBoard(Tracker):
    """Look at it with `tensorboard --logdir runs`. Every run is a folder there, named for its recipe and its id.

    What a step says while it runs is `step/name` over its training steps; what it ends with is `step/result/name`.
    """

    main: ClassVar[str] = "folder"
    extra: ClassVar[str] = _EXTRA

    folder: str = "runs"
    """Where the folders of runs lie; relative to the working folder."""

    _file: Any = PrivateAttr(None)

    def model_post_init(self, _: Any) -> None:
        """Raises MachineError, which names what to install, before anything runs."""
        _ = _writer.EventFileWriter

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self.close()
            self._file = _writer.EventFileWriter(
                str(Path(self.folder) / f"{event.data['name'] or 'run'}-{event.data['id']}")
            )
        elif self._file is not None and event.kind == "numbers":
            step, numbers = at_step(event.data)
            self._write(event.at, step, finite_numbers(numbers, event.step))
        elif self._file is not None and event.kind in ("step_done", "step_reused"):
            numbers = {**event.data["numbers"], "seconds": event.data["seconds"]}
            self._write(event.at, 0, finite_numbers(numbers, f"{event.step}/result"))

    def _write(self, at: float, step: int, numbers: dict[str, float]) -> None:
        if numbers:
            values = [_summary.Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
            self._file.add_event(_event.Event(wall_time=at, step=step, summary=_summary.Summary(value=values)))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
