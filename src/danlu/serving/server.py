"""The server process: the socket, and an end that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from danlu.core.errors import MachineError
from danlu.predictor import Predictor
from danlu.serving.connection import Connection
from danlu.serving.door import Door, Keys
from danlu.serving.front import State, app
from danlu.serving.hosting import Loaded, Model, Watcher
from danlu.serving.metrics import Metrics
from danlu.serving.wire import Limits

_log = logging.getLogger(__name__)
_PAUSE = 10.0
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LEAVE_SECONDS = 1.0
"""How long connections that are kept alive have for one more request, whose response tells them to close."""


class LoopFaults:
    """What goes wrong in the event loop itself, told; that no connection can be taken, at most once in ten seconds.

    asyncio asks for a thousand connections at once, and tells of each that the system has no file descriptor for.
    """

    def __init__(self) -> None:
        self._told = -_PAUSE

    def hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        fault = context.get("exception")
        if not isinstance(fault, OSError) or fault.errno not in _NO_ROOM:
            loop.default_exception_handler(context)
        elif time.monotonic() - self._told >= _PAUSE:
            self._told = time.monotonic()
            _log.error("no connection can be taken, callers wait: %s; `ulimit -n` allows more", fault.strerror)


class _Server(uvicorn.Server):
    """uvicorn, whose signals are handled by `serve`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(door: Door, limits: Limits, stop_seconds: int) -> _Server:
    protocol = type("_Timed", (Connection,), {"head_seconds": limits.head_seconds})
    config = uvicorn.Config(
        door,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=limits.head,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=stop_seconds,
    )
    return _Server(config)


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet. Raises MachineError saying why it can't be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # asyncio sends small segments at once (TCP_NODELAY) only on sockets that name their protocol.
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as fault:
        raise MachineError(f"there is no address {host}: {fault}", do="--host 127.0.0.1") from fault
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as fault:
        bound.close()
        other = port + 1 if port < 65535 else 8000
        what = f"port {port} of {host} can't be listened on: {fault.strerror}"
        raise MachineError(what, do=f"--port {other}, or end what listens there") from fault
    return bound


def is_local(bound: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def serve(
    state: State,
    bound: socket.socket,
    *,
    keys: Keys | None = None,
    started: Callable[[], object] = lambda: None,
    stop_seconds: int = 30,
) -> None:
    """Serve until SIGINT or SIGTERM; then drain: not ready, connections close after their response, all answers end.

    Runs in the main thread. `started` is called when requests are answered. A second signal does not wait.
    """
    door = app(state, keys)
    server = _server(door, state.limits, stop_seconds)
    watcher = Watcher(state.models)

    async def run() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()

        def stop() -> None:
            if stopping.is_set():
                server.force_exit = True
            state.draining = door.draining = True
            stopping.set()

        loop.set_exception_handler(LoopFaults().hear)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        serving = asyncio.ensure_future(server.serve(sockets=[bound]))
        telling = asyncio.ensure_future(_tell(server, started))
        await asyncio.wait({serving, asyncio.ensure_future(stopping.wait())}, return_when="FIRST_COMPLETED")
        _log.info("stopping: requests under way end first")
        await _until(lambda: not server.server_state.connections or server.force_exit, _LEAVE_SECONDS)
        server.should_exit = True
        telling.cancel()
        await serving

    watcher.start()
    try:
        asyncio.run(run())
    finally:
        watcher.close()
        for model in state.models:
            model.close(timeout=1.0)


async def _tell(server: uvicorn.Server, started: Callable[[], object]) -> None:
    await _until(lambda: server.started)
    started()


async def _until(holds: Callable[[], bool], seconds: float | None = None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.02)


class Fixed:
    """A source of one version that never changes."""

    alias = ""

    def __init__(self, loaded: Loaded, name: str) -> None:
        self.name, self._loaded = name, loaded

    def wanted(self) -> int:
        """The number of the one version."""
        return self._loaded.number

    def load(self, number: int) -> Loaded:
        """The one version."""
        return self._loaded


@contextmanager
def served(predictor: Predictor, limits: Limits | None = None) -> Iterator[str]:
    """Serve on a free port of this machine's own loopback while the block runs; gives the base URL.

    Raises MachineError when the server does not start.
    """
    loaded = Loaded("model", 1, predictor.task.name, predictor)
    with running([Fixed(loaded, "model")], limits or Limits(body=256 * 2**20, answer_seconds=600)) as (url, _):
        yield url


@contextmanager
def running(sources: Sequence[Any], limits: Limits, keys: Keys | None = None) -> Iterator[tuple[str, State]]:
    """Serve from a thread while the block runs, on a free port of the loopback: the base URL, and what is served."""
    metrics = Metrics()
    state = State([Model(source, limits, metrics) for source in sources], limits, metrics)
    server, watcher = _server(app(state, keys), limits, 30), Watcher(state.models)
    with bind("127.0.0.1", 0) as bound:
        thread = threading.Thread(target=server.run, args=([bound],), name="danlu-front", daemon=True)
        thread.start()
        watcher.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}", state
        finally:
            server.should_exit = True
            thread.join()
            watcher.close()
            for model in state.models:
                model.close(timeout=10)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    while not server.started:
        if not thread.is_alive():
            raise MachineError("the server did not start", do="run again with more memory, or see the log above")
        pause.wait(0.01)
