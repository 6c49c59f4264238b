"""Processes that work on pieces of rows beside this one; what comes out does not depend on their number.

A worker is a new interpreter, never a fork, since threads of torch and Arrow do not outlive one. It does not run the
caller's script again, as `multiprocessing` would, and it ends when the socket to its maker closes, however that ended.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from signal import Signals
from typing import Any, Protocol, Self

import pyarrow as pa

from danlu.blocks.allocator import keep_freed_memory
from danlu.blocks.chain import Worked
from danlu.core import machine
from danlu.core.errors import MachineError, RecipeError

ENV = "DANLU_WORKERS"
FROM = 1 << 25
"""Bytes of rows that are worth the start of other processes, about half a second of processor time each."""
_MOST, _AHEAD, _WAIT = 8, 4, 2
_START = "import sys; sys.path[:] = {path!r}; from danlu.blocks.crew import main; main({descriptor})"


class Work(Protocol):
    """What is done to each piece, such as a `Chain`; it is sent to the workers."""

    def work(self, rows: pa.Table) -> Worked:
        """What becomes of a piece."""


class Crew:
    """As many processes as there are processors, at most 8, this one among them; or as `DANLU_WORKERS` says.

    The others are started when rows of at least 32 MB come, or of any size where `DANLU_WORKERS` is set.
    """

    def __init__(self) -> None:
        told = os.environ.get(ENV, "")
        if told and not (told.isascii() and told.isdigit() and int(told)):
            raise RecipeError(f"{told!r} is no number of processes", where=ENV, do=f"{ENV}=2, or unset it")
        self.others = (int(told) if told else min(_MOST, machine.cpu_threads())) - 1
        self._from = 0 if told else FROM
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def pays(self, size: int) -> bool:
        """Whether so many bytes of rows are worth other processes."""
        return self.others > 0 and size >= self._from

    def work(self, work: Work, pieces: Iterable[pa.Table], size: int) -> Iterator[Worked]:
        """What became of each piece, in their order; `size` is that of all pieces in bytes.

        Raises what `work.work` raises for the first piece that it fails on, and MachineError when a worker was killed.
        """
        if not self.pays(size):
            yield from map(work.work, pieces)
            return
        self.expect(size)
        waiting: deque[_Given] = deque()
        for piece in pieces:
            waiting.append(self._given(work, piece, waiting))
            while waiting and (waiting[0].worked.done() or len(waiting) > _AHEAD * (self.others + 1)):
                yield waiting.popleft().worked.result()
        for given in reversed(waiting):  # what no worker has begun
            if given.worked.cancel():
                given.worked = _done(work, given.piece)
        while waiting:
            yield waiting.popleft().worked.result()

    def _given(self, work: Work, piece: pa.Table, waiting: Iterable[_Given]) -> _Given:
        """The piece given to the workers; where two wait for each of them already, it is worked on here."""
        assert self._threads is not None
        if sum(given.waits for given in waiting) < _WAIT * len(self._workers):
            return _Given(piece, self._threads.submit(self._asked, work, piece))
        return _Given(piece, _done(work, piece))

    def _asked(self, work: Work, piece: pa.Table) -> Worked:
        worker = self._idle.get_nowait()  # there are as many as threads
        worked = worker.ask(work, piece)
        self._idle.put(worker)
        return worked or work.work(piece)  # raises what the worker met, as if there were none

    def expect(self, size: int) -> None:
        """Start the others where so many bytes of rows are worth it, so that they are there when work comes."""
        if self.pays(size) and self._threads is None:
            with suppress(OSError):  # where the machine gives fewer, more is done here
                for _ in range(self.others):
                    self._workers.append(_Worker())
                    self._idle.put(self._workers[-1])
            self._threads = ThreadPoolExecutor(len(self._workers) or 1, thread_name_prefix="crew")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.channel.close()


@dataclass(slots=True)
class _Given:
    """A piece, and what becomes of it."""

    piece: pa.Table
    worked: Future[Worked]

    @property
    def waits(self) -> bool:
        """Whether no worker has begun with it."""
        return not self.worked.running() and not self.worked.done()


def _done(work: Work, piece: pa.Table) -> Future[Worked]:
    done: Future[Worked] = Future()
    try:
        done.set_result(work.work(piece))
    except Exception as fault:  # noqa: BLE001 - it is raised when its turn comes
        done.set_exception(fault)
    return done


class _Worker:
    """A process and the socket to it."""

    def __init__(self) -> None:
        self.channel, theirs = Pipe()
        self._last: Work | None = None
        code = _START.format(path=sys.path, descriptor=theirs.fileno())
        env = dict(os.environ) | {"OMP_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is this process's matter
            )

    def ask(self, work: Work, piece: pa.Table) -> Worked | None:
        """What became of the piece; None where the worker met an error."""
        try:
            self.channel.send(None if work is self._last else work)
            self._last = work
            _send(self.channel, piece)
            counts = self.channel.recv()
            return None if counts is None else Worked(_received(self.channel), counts, _received(self.channel))
        except (EOFError, OSError) as fault:
            code = self.process.wait()
            how = f"was killed by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            do = f"run again; if memory ran out, with fewer of them: {ENV}=1"
            raise MachineError(f"a process that worked on rows {how}", do=do) from fault


def _send(channel: Connection[Any, Any], rows: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    whole = sink.getvalue()
    channel.send_bytes(whole.size.to_bytes(8))
    with _socket(channel) as plain:
        plain.sendall(whole)


def _received(channel: Connection[Any, Any]) -> pa.Table:
    buffer = pa.allocate_buffer(int.from_bytes(channel.recv_bytes(8)))
    with _socket(channel) as plain, memoryview(buffer) as view:
        got = 0
        while got < buffer.size:
            got += (came := plain.recv_into(view[got:], 0, socket.MSG_WAITALL))
            if not came:
                raise EOFError
    with pa.ipc.open_stream(buffer) as stream:
        return stream.read_all()


def _socket(channel: Connection[Any, Any]) -> socket.socket:
    """The channel, to take many bytes in one call: between two calls other threads may work for long."""
    return socket.socket(fileno=os.dup(channel.fileno()))


def main(descriptor: int) -> None:
    """The work of a worker, until its maker closes the socket."""
    keep_freed_memory()  # each piece needs as much as the one before
    pa.array([""])  # imports pandas, where it is installed, before a piece waits for it
    channel: Connection[Any, Any]
    with Connection(descriptor) as channel:
        work: Work | None = None
        while True:
            try:
                work = channel.recv() or work
                assert work is not None
                piece = _received(channel)
                try:
                    worked = work.work(piece)
                except Exception:  # noqa: BLE001 - the maker meets it again, and tells it
                    channel.send(None)
                    continue
                channel.send(worked.counts)
                _send(channel, worked.rows)
                _send(channel, worked.entries)
            except (EOFError, OSError):
                return
