"""A run as a person watches it: each step with its progress, speed and time left, what was reused, what it took.

It writes to standard error, so that what a command prints on standard output stays clean. In a terminal the running
step is a live bar; elsewhere there are plain lines, at most one every ten seconds, in a notebook in the cell's output.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pydantic import PrivateAttr
from rich.console import Console as Screen
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.progress import ProgressColumn as Column
from rich.table import Column as TableColumn
from rich.text import Text

from danlu.contracts import Tracker
from danlu.core.events import Event
from danlu.core.printable import printable

_EVERY = 10.0  # seconds between plain lines of progress
_MOST_NUMBERS = 4
_MARKS = {"done": ("✓", "green"), "reused": ("↺", "cyan"), "failed": ("✗", "bold red"), "interrupted": ("■", "yellow")}


class Console(Tracker):
    """Show a run on standard error: a live bar in a terminal, plain lines elsewhere."""

    quiet: bool = False
    """Say nothing but warnings and failures."""

    _face: _Face | None = PrivateAttr(None)

    def on(self, event: Event) -> None:
        self._face = self._face or _face(screen(), quiet=self.quiet)
        said = getattr(self._face, event.kind, None)
        if said:
            said(event.step, event.data)

    def close(self) -> None:
        if self._face:
            self._face.close()
        self._face = None


def screen() -> Screen:
    """Standard error, as rich sees it; in a notebook the cell's output, as plain text.

    A live bar there would be an output of its own for every line, and needs ipywidgets to move at all.
    """
    found = Screen(stderr=True, highlight=False)
    return Screen(force_jupyter=False, force_terminal=False, highlight=False) if found.is_jupyter else found


def _face(screen: Screen, *, quiet: bool) -> _Face:
    alive = screen.is_terminal and not screen.is_dumb_terminal
    if quiet:
        return _Face(screen)
    return _Live(screen) if alive and screen.encoding.startswith("utf") else _Plain(screen)


class _Face:
    """What every way of showing has in common, by itself the quiet one. Its methods are named for kinds of events."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.widths = [0, 0]
        self.stages: Mapping[str, str] = {}
        self.ended = {"done": 0, "reused": 0}

    def line(self, *parts: str | tuple[str, str]) -> None:
        encoding = self.screen.encoding
        told = [(part, "") if isinstance(part, str) else part for part in parts]
        shown = [(printable(text).encode(encoding, "replace").decode(encoding), style) for text, style in told]
        self.screen.print(Text.assemble(*shown), soft_wrap=True)

    def name(self, step: str) -> str:
        """The step and its stage, in columns."""
        return f"{step.ljust(self.widths[0])}  {self.stages.get(step, '').ljust(self.widths[1])}"

    def run_started(self, _: str, data: Mapping[str, Any]) -> None:
        self.stages = data.get("steps", {})
        self.widths = [max(map(len, column), default=0) for column in (self.stages, self.stages.values())]

    def warning(self, step: str, data: Mapping[str, Any]) -> None:
        self.line(("! ", "bold yellow"), f"{step}: " if step else "", (str(data["text"]), "yellow"))

    def step_failed(self, step: str, data: Mapping[str, Any]) -> None:
        after = f"after {duration(data['seconds'])}"
        if data["status"] == "interrupted":
            self.end("interrupted", step, f"interrupted {after}; the next run goes on where it stopped")
        else:
            self.end("failed", step, f"failed {after}")

    def end(self, how: str, step: str, told: str, numbers: Mapping[str, Any] | None = None) -> None:
        mark, style = _MARKS[how]
        mark = mark if self.screen.encoding.startswith("utf") else how[0]
        shown = in_words(numbers or {})
        self.line((f"{mark} ", style), self.name(step), f"  {told}", (f"  {shown}" if shown else "", "dim"))

    def close(self) -> None:
        """Nothing more will come."""


class _Spoken(_Face):
    """Says all that a person wants to know."""

    def run_started(self, _: str, data: Mapping[str, Any]) -> None:
        super().run_started(_, data)
        self.line((f"{data['name']}  ", "bold"), (f"run {data['id']}, store {data['store']}", "dim"))

    def step_reused(self, step: str, data: Mapping[str, Any]) -> None:
        self.ended["reused"] += 1
        self.end("reused", step, f"reused ({duration(data['seconds'])} saved)", data["numbers"])

    def step_done(self, step: str, data: Mapping[str, Any]) -> None:
        self.ended["done"] += 1
        self.end("done", step, f"{duration(data['seconds']):>10}", data["numbers"])

    def note(self, step: str, data: Mapping[str, Any]) -> None:
        self.line("  ", (f"{step}: " if step else "", "dim"), (str(data["text"]), "dim"))

    def run_done(self, _: str, data: Mapping[str, Any]) -> None:
        self.close()
        ran, reused = self.ended["done"], self.ended["reused"]
        told = f"{ran} run, {reused} reused" if ran else f"all {reused} reused"
        if data["status"] == "done":
            self.line((f"done in {duration(data['seconds'])}", "bold"), (f"  steps: {told}", "dim"))


class _Live(_Spoken):
    """A bar for each thing that the running step does."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        self.bars = Progress(
            SpinnerColumn(style="cyan"), TextColumn("{task.fields[name]}", markup=False),
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), *(
                column(table_column=TableColumn(no_wrap=True)) for column in (_Amount, _Speed, _Left, _Numbers)
            ), console=screen, transient=True,
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}

    def step_started(self, step: str, data: Mapping[str, Any]) -> None:
        self.bars.start()
        self.bar(step, "", 0, None)

    def progress(self, step: str, data: Mapping[str, Any]) -> None:
        numbers = {k: v for k, v in data.items() if k not in ("what", "done", "total", "unit")}
        if data["what"] not in self.tasks:
            self.drop("")
            self.bar(step, data["what"], data["done"], data["total"], data["unit"])
        task = self.tasks[data["what"]]
        self.bars.update(task, completed=data["done"], total=data["total"])
        if numbers:
            self.bars.update(task, numbers=numbers)

    def numbers(self, step: str, data: Mapping[str, Any]) -> None:
        if self.tasks:
            self.bars.update(
                next(reversed(self.tasks.values())), numbers={k: v for k, v in data.items() if k != "step"}
            )

    def bar(self, step: str, what: str, done: float, total: float | None, unit: str = "") -> None:
        self.tasks[what] = self.bars.add_task(what, total=total, name=step, unit=unit, numbers={})
        self.bars.reset(self.tasks[what], completed=int(done))  # what was there before says nothing about speed

    def drop(self, what: str) -> None:
        if what in self.tasks:
            self.bars.remove_task(self.tasks.pop(what))

    def end(self, how: str, step: str, told: str, numbers: Mapping[str, Any] | None = None) -> None:
        self.close()
        super().end(how, step, told, numbers)

    def close(self) -> None:
        for what in list(self.tasks):
            self.drop(what)
        self.bars.stop()


class _Plain(_Spoken):
    """Lines for a log."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        self.first: dict[tuple[str, str], tuple[float, float]] = {}
        self.last_said = 0.0

    def step_started(self, step: str, data: Mapping[str, Any]) -> None:
        self.last_said = time.monotonic()
        self.line(f"  {self.name(step)}  started")

    def progress(self, step: str, data: Mapping[str, Any]) -> None:
        now, done, total = time.monotonic(), data["done"], data["total"]
        began, had = self.first.setdefault((step, data["what"]), (now, done))
        if now - self.last_said < _EVERY:
            return
        self.last_said = now
        speed = (done - had) / (now - began) if now > began else 0.0
        left = f", {duration((total - done) / speed)} left" if speed and total else ""
        numbers = in_words({k: v for k, v in data.items() if k not in ("what", "done", "total", "unit")})
        pace = f", {number(speed)}/s{left}" if speed else ""
        self.line(f"  {self.name(step)}  {data['what']} {amount(done, total, data['unit'])}{pace}  {numbers}".rstrip())


class _Amount(Column):
    """`120/600 steps`."""

    def render(self, task: Task) -> Text:
        return Text(amount(task.completed, task.total, task.fields["unit"]) if task.description else "")


class _Speed(Column):
    """`3.2/s`."""

    def render(self, task: Task) -> Text:
        return Text(f"{number(task.speed)}/s" if task.speed else "", style="dim")


class _Left(Column):
    """`3 min 05 s left`, or how long it has taken where the end is not known."""

    def render(self, task: Task) -> Text:
        if task.time_remaining is not None:
            return Text(f"{duration(task.time_remaining)} left")
        return Text(duration(task.elapsed or 0.0), style="dim")


class _Numbers(Column):
    """`loss 0.31  lr 3e-05`."""

    def render(self, task: Task) -> Text:
        return Text(in_words(task.fields["numbers"]), style="cyan")


def amount(done: float, total: float | None, unit: str) -> str:
    """How much of how much: `120/600 steps`."""
    of = f"/{number(total)}" if total is not None else ""
    return f"{number(done)}{of} {unit}".rstrip()


def number(value: Any) -> str:
    """A number in three or four digits, a whole one in full: `1,066`, `0.868`, `3e-05`."""
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def in_words(numbers: Mapping[str, Any]) -> str:
    """The first few plain numbers: `rows 10,662  accuracy 0.868`; operations a second are for `danlu runs show`."""
    told = {k: v for k, v in numbers.items() if not k.endswith("flop_per_s")}
    plain = {k: v for k, v in told.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return "  ".join(f"{name} {number(value)}" for name, value in list(plain.items())[:_MOST_NUMBERS])


def duration(seconds: float) -> str:
    """A time as a person says it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
