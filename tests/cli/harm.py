"""A technique that changes nothing, but for the harm that its environment asks for: `HARM="1 5 kill FILE"` kills rank 1
in its fifth step (or lets it `hang`), unless FILE is there."""

import os
import signal
import time
from pathlib import Path

from danlu.contracts import Technique


class Harm(Technique):
    """Kills or holds up one rank in one step, once."""

    def after_step(self, run):
        rank, step, how, note = os.environ.get("HARM", "-1 0 - -").split(maxsplit=3)
        if (run.ranks.rank, run.step) != (int(rank), int(step)) or Path(note).exists():
            return
        Path(note).touch()
        if how == "hang":
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGKILL)
