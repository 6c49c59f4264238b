"""Every event of a run as a line of JSON, for programs that watch a run or draw its curves."""

from pathlib import Path

from pydantic import PrivateAttr

from danlu.contracts import Tracker
from danlu.core.events import Event, EventLog


class JsonLines(Tracker):
    """Append every event to a file: `{"at": seconds since 1970, "step": …, "kind": …, "data": {…}}`, one a line."""

    main = "path"

    path: str = "events.jsonl"
    """The file, which is made when missing; relative to the working folder."""

    _log: EventLog | None = PrivateAttr(None)

    def on(self, event: Event) -> None:
        self._log = self._log or EventLog(Path(self.path))
        self._log.on(event)

    def close(self) -> None:
        if self._log:
            self._log.close()
        self._log = None
