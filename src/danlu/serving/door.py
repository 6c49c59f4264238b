"""The one outer layer of a server, through which every request goes in and out: key, counting, log, drain.

A path is closed unless it is on the list of open ones, so a route that is added later needs a key without being told.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from danlu.core.errors import RecipeError
from danlu.serving.metrics import Metrics
from danlu.serving.wire import VERSION_HEADER, RefusedError, error, head_too_large

_log = logging.getLogger(__name__)
access = logging.getLogger("danlu.serving.access")
"""One line a request, without anything that the request said; silent unless its level is INFO."""

OPEN: Final = frozenset({"/healthz", "/readyz"})
"""The paths that need no key."""
LEFT: Final = 499
"""The status that is counted where the caller left before the answer."""
_SHORTEST_KEY = 32


class Keys:
    """The keys that open a server; only their SHA-256 is kept."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def open_with(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request brings one of the keys, as `Authorization: Bearer KEY` or `x-api-key: KEY`."""
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        told = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"").strip()
        digest = sha256(told).digest()
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0  # all are compared


def read_keys(path: Path) -> Keys:
    """The keys in a file, one a line, so that a new one can be brought in beside the old one.

    Raises RecipeError when it can't be read, holds none, or one that is too short or has other characters than
    printable ASCII without spaces.
    """
    do = f"python -c 'import secrets; print(secrets.token_urlsafe(32))' > {path}"
    try:
        keys = path.read_text("ascii").split("\n")
    except OSError as fault:
        raise RecipeError(f"the keys can't be read: {fault.strerror}", where=str(path), do=do) from fault
    except ValueError as fault:
        raise RecipeError("a key must be printable ASCII", where=str(path), do=do) from fault
    keys = [key.strip() for key in keys if key.strip()]
    for number, key in enumerate(keys, 1):
        if len(key) < _SHORTEST_KEY or not key.isprintable() or " " in key:
            what = f"key {number} is not at least {_SHORTEST_KEY} printable characters without a space"
            raise RecipeError(what, where=str(path), do=do)
    if not keys:
        raise RecipeError("there is no key in it", where=str(path), do=do)
    return Keys(keys)


class Door:
    """The layer itself. `routes` are the paths that are counted under their own name, all others are `other`.

    A request whose line and headers have more than `head` bytes is refused, also where they came in one piece.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, routes: Sequence[str], head: int, keys: Keys | None = None
    ) -> None:
        self._app, self._metrics, self._routes, self._keys = app, metrics, frozenset(routes), keys
        self._head = head
        self.draining = False
        """Whether connections are closed after their next response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        began, status, version = time.perf_counter(), 0, b""

        async def sending(message: Message) -> None:
            nonlocal status, version
            if message["type"] == "http.response.start":
                status = message["status"]
                version = dict(message["headers"]).get(VERSION_HEADER.encode(), b"")
                if self.draining:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            if _head_of(scope) > self._head:
                self._metrics.refused.labels("too_large").inc()
                await _refuse(sending, head_too_large(), (b"connection", b"close"))
            elif self._keys and scope["path"] not in OPEN and not self._keys.open_with(dict(scope["headers"])):
                await _refuse(sending, _no_key(), (b"www-authenticate", b"Bearer"))
            else:
                await self._app(scope, receive, sending)
        except Exception:
            _log.exception("a request failed")
            if not status:
                raise
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status or LEFT, time.perf_counter() - began, version)

    def _note(self, scope: Scope, status: int, seconds: float, version: bytes) -> None:
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._metrics.requests.labels(route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if access.isEnabledFor(logging.INFO):
            told: dict[str, Any] = {"route": route, "method": scope["method"][:10], "status": status}
            told |= {"ms": round(seconds * 1e3, 2), "version": version.decode("latin-1") or None}
            access.info(json.dumps(told), extra={"told": told})


def _head_of(scope: Scope) -> int:
    """Bytes of a request's line and headers, but for the few of version and line ends."""
    line = len(scope["method"]) + len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


def _no_key() -> RefusedError:
    do = "send the header `Authorization: Bearer KEY` or `x-api-key: KEY`"
    return RefusedError(401, "a key is needed", where="headers", do=do)


async def _refuse(send: Send, fault: RefusedError, header: tuple[bytes, bytes]) -> None:
    body = json.dumps(error(fault)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), header]
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
