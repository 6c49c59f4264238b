"""Publish and open a version in a child that kills itself at its K-th step; a step is before or after a call that
touches the disk or the database.

    python killed_writer.py STORE FOLDER K                 die at step K, if there are as many
    python killed_writer.py STORE FOLDER all               one child after the other, at 1, 2, 3 ... until one lives
    python killed_writer.py STORE FOLDER 1 _commit_impl    count only these calls

Prints how many children were killed.
"""

import functools
import os
import signal
import sys
from pathlib import Path

from sqlalchemy.engine import Connection

from danlu.registry.store import Registry

CALLS = [
    *(
        (os, name)
        for name in ("open", "fsync", "fchmod", "chmod", "link", "mkdir", "rename", "replace", "unlink", "rmdir")
    ),
    *((Connection, name) for name in ("_begin_impl", "execute", "exec_driver_sql", "_commit_impl")),
]


def die_at(step, calls):
    left = step

    def count():
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(real):
        @functools.wraps(real)
        def call(*values, **named):
            count()
            result = real(*values, **named)
            count()
            return result

        return call

    for owner, name in calls:
        setattr(owner, name, counted(getattr(owner, name)))


def child(store, folder, step, calls):
    """Whether the child was killed."""
    process = os.fork()
    if process == 0:
        die_at(step, calls)
        registry = Registry(store)
        registry.open(registry.publish("reviews", folder, metadata={}))
        os._exit(0)
    status = os.waitpid(process, 0)[1]
    if status not in (0, signal.SIGKILL):
        sys.exit(f"the child at step {step} ended with {status}")
    return status != 0


def main(store, folder, steps, *only):
    calls = [(owner, name) for owner, name in CALLS if not only or name in only]
    if steps == "all":
        killed = 0
        while child(Path(store), Path(folder), killed + 1, calls):
            killed += 1
    else:
        killed = int(child(Path(store), Path(folder), int(steps), calls))
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
