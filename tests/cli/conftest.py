import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from danlu.cli import main


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def danlu(capsys, strangers):
    """Run a command in this process."""

    def danlu(*arguments):
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return danlu


@pytest.fixture
def command(tmp_path):
    """Start a command as a process of its own, in an empty folder; keywords are environment variables."""

    def command(*arguments, cwd=tmp_path, **environment):
        own = {"COLUMNS": "", "DANLU_STORE": "", "PYTHONUNBUFFERED": "1"} | environment
        return subprocess.Popen(
            [sys.executable, "-m", "danlu.cli.main", *map(str, arguments)], cwd=cwd, env=os.environ | own,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )  # fmt: skip

    return command
