"""One connection: slow callers, callers that close their side early, and what is no request at all."""

from __future__ import annotations

import asyncio
import json
import socket
import sys

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from danlu.serving.wire import RefusedError, error, head_too_large

_LOOK_SECONDS = 0.1


class Connection(H11Protocol):
    """A connection that is closed when the head of a request does not come in time.

    A caller may close its side once the request is sent, and is answered. Whether it closed the other side too shows
    when something is sent to it: so it gets an interim response, which every client passes over, and a reset that comes
    back counts as having left.
    """

    head_seconds = 10.0
    _head: asyncio.TimerHandle | None = None
    _ended = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(self.head_seconds, self._too_slow)

    def data_received(self, data: bytes) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_head()
        elif idle and self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(self.head_seconds, self._too_slow)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open: a whole request waits for its answer."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self._ended = True
        if self.scope["http_version"] == "1.1" and not self.cycle.response_started:
            self.transport.write(self.conn.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        self._look_whether_left()
        return True

    def _look_whether_left(self) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(_LOOK_SECONDS, self._look_whether_left)

    def on_response_complete(self) -> None:
        super().on_response_complete()  # which begins the next request, where one was sent along
        if self._ended and self.cycle.response_complete:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, while the fault is handled that h11 found in it."""
        fault = sys.exc_info()[1]
        status = 431 if getattr(fault, "error_status_hint", 0) == 431 else 400
        told = head_too_large() if status == 431 else RefusedError(400, "this is no HTTP request", do="see /docs")
        body = json.dumps(error(told)).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        response = h11.Response(status_code=status, headers=headers, reason=b"")
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        self._head = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
