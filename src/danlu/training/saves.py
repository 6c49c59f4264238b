"""When a checkpoint is due, and writing it beside the training, from a copy in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from danlu.core.errors import MachineError
from danlu.training import guards
from danlu.training.checkpoint import Checkpoints, State
from danlu.training.run import Run


class Background:
    """Writes checkpoints in a thread of its own, one at a time.

    A step stands still while the state is copied, and while the checkpoint before is not yet written.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: tuple[int, Future[float]] | None = None

    def save(self, state: State) -> None:
        """Copy the state and begin to write it. Raises what `wait` raises."""
        self.wait()
        self._under_way = state.step, self._thread.submit(self._write, state.copied())

    @property
    def step(self) -> int | None:
        """The step that is being written, or was and was not waited for."""
        return self._under_way[0] if self._under_way else None

    @property
    def busy(self) -> bool:
        return self._under_way is not None and not self._under_way[1].done()

    def wait(self) -> float:
        """Wait for the checkpoint under way; the seconds it took, 0 for none. Raises MachineError as its `save` did."""
        if self._under_way is None:
            return 0.0
        (_, writing), self._under_way = self._under_way, None
        return writing.result()

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()

    def _write(self, state: State) -> float:
        began = time.monotonic()
        self._checkpoints.save(state)
        return time.monotonic() - began


class Saves:
    """When a checkpoint is due, and what happens when the disk refuses one: a warning, since training is worth more."""

    def __init__(self, run: Run, checkpoints: Checkpoints | None) -> None:
        self._run, self._checkpoints = run, checkpoints
        self._background = Background(checkpoints) if checkpoints else None
        self._pause = run.settings.checkpoint_every
        self._due, self._asked, self._saved = time.monotonic() + self._pause, run.step, run.step

    def save_if_due(self, *, at_once: bool) -> None:
        """Save when `checkpoint_every` seconds have passed, or twenty times what the last one took, if that is more.

        `at_once` saves in any case and waits until it is written.
        """
        background, ranks = self._background, self._run.ranks
        if background and not background.busy:
            self._hear(background)
        due = background is not None and self._is_due(at_once=at_once)
        if ranks.sharded:
            due = ranks.of_first(lambda: float(due)) > 0
        if due:
            state = self._run.state()
            if background:
                self._hear(background)
                background.save(state)
            self._asked, self._due = state.step, time.monotonic() + self._pause
        if background and at_once:
            self._hear(background)

    def _is_due(self, *, at_once: bool) -> bool:
        every, step = self._run.settings.checkpoint_steps, self._run.step
        due = at_once or time.monotonic() >= self._due or (every is not None and step % every == 0)
        return due and step != self._asked

    def _hear(self, background: Background) -> None:
        """Wait for the checkpoint under way, if there is one."""
        step = background.step
        if step is None:
            return
        try:
            took = background.wait()
            self._saved = step
            self._due = max(self._due, time.monotonic() + 20 * took)
        except MachineError as fault:
            lost = f"a kill would lose what was learnt since step {self._saved}"
            self._run.events.warn(f"no checkpoint of step {step}, so {lost}; the training goes on. {fault}")

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """At the end every checkpoint is written; when the training diverges, the best weights are left beside them,
        and the error says where."""
        try:
            yield
        except guards.DivergedError as fault:
            best, weights = self._run.watch.best, self._run.watch.best_weights
            if self._checkpoints and best and weights and not self._run.ranks.sharded:
                with suppress(MachineError):  # a full disk must not hide why the training ended
                    path = self._checkpoints.leave("best.safetensors", weights)
                    fault.do += f"; the best weights so far, of step {best[0]}, are in {path}"
            raise
        finally:
            if self._background:
                self._hear(self._background)
                self._background.close()
