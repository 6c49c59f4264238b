"""An operator that does nothing, but kills its process by SIGKILL unless the file is there that `DEADLY` names."""

import os
import signal
from pathlib import Path
from typing import ClassVar

from danlu.contracts import Counts, Operator


class Deadly(Operator):
    """Kills once."""

    by_row: ClassVar[bool] = True

    def apply(self, table, context):
        note = Path(os.environ.get("DEADLY", __file__))
        if not note.exists():
            note.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return table, Counts(table.num_rows, table.num_rows)
