"""Faults of the event loop itself."""

import asyncio
import errno
import logging

from danlu.serving.server import LoopFaults


def test_that_no_connection_can_be_taken_is_told_once_not_a_thousand_times(caplog):
    loop, faults = asyncio.new_event_loop(), LoopFaults()
    with caplog.at_level(logging.ERROR):
        for _ in range(1000):
            faults.hear(loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
    assert [record.message for record in caplog.records] == [
        "no connection can be taken, callers wait: Too many open files; `ulimit -n` allows more"
    ]
    loop.close()


def test_other_faults_are_told_each(caplog):
    loop, faults = asyncio.new_event_loop(), LoopFaults()
    for _ in range(2):
        faults.hear(loop, {"message": "a callback failed", "exception": ValueError("odd")})
    assert [record.message.splitlines()[0] for record in caplog.records] == ["a callback failed"] * 2
    loop.close()
