"""The routes: `POST /v1/predict`, `/v1/models`, health, metrics, and the schema at `/openapi.json`.

It knows no task: what a request and an answer look like, the task says. It imports no torch, so a form that needs none
is served without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from danlu.serving import page
from danlu.serving.batcher import FullError, retry_after
from danlu.serving.door import LEFT, Door, Keys
from danlu.serving.hosting import Model, Serving
from danlu.serving.metrics import Metrics
from danlu.serving.wire import (
    PREDICT,
    VERSION_HEADER,
    Limits,
    RefusedError,
    error,
    error_schema,
    read_request,
    request_schema,
    response_schema,
)

_KINDS = {400: "malformed", 408: "slow", 413: "too_large", 415: "encoding", 422: "invalid", 503: "overload"}
_DISCARDED_SECONDS, _PAUSE_SECONDS, _DISCARDED_BYTES = 2.0, 0.2, 64 * 2**20


@dataclass
class State:
    """What the routes share."""

    models: Sequence[Model]
    limits: Limits
    metrics: Metrics
    draining: bool = field(default=False)
    """Whether the server is about to stop and wants no new work."""
    held: int = field(default=0)
    """Bytes of bodies that are being read or wait for their answers."""

    def unready(self) -> str:
        """Why no request should be sent here; empty when they may."""
        if self.draining:
            return "the server is stopping"
        for model in self.models:
            seconds = model.current.batcher.running
            if seconds > 2 * self.limits.answer_seconds:
                return f"{model.name} has been busy with one batch for {seconds:.0f} s"
        return ""


def app(state: State, keys: Keys | None = None) -> Door:
    """The application."""
    served = FastAPI(title="Danlu", docs_url=None, redoc_url=None, redirect_slashes=False)
    for model in state.models:
        _add_predict(served, predict_path(model), model, state)
    if len(state.models) == 1:
        _add_predict(served, PREDICT, state.models[0], state)
    _add_about(served, state)
    _add_faults(served, state)
    paths = [route.path for route in served.routes]  # type: ignore[attr-defined]
    served.openapi = lambda: _openapi(served, state)  # type: ignore[method-assign]
    return Door(served, state.metrics, paths, state.limits.head, keys)


def predict_path(model: Model) -> str:
    """Where a model is asked by name."""
    return f"/v1/models/{model.name}/predict"


# ---- predict ---------------------------------------------------------------------------------------------------------


def _add_predict(served: FastAPI, path: str, model: Model, state: State) -> None:
    async def predict(request: Request) -> Response:
        room = _Room(state)
        try:
            values, single = read_request(await _body(request, state.limits, room), state.limits)
            return await _answer(model, values, single, request, state)
        except RefusedError as fault:
            state.metrics.refused.labels(_KINDS[fault.status]).inc()
            return _refusal(fault)
        except ClientDisconnect:
            state.metrics.refused.labels("left").inc()
            return Response(status_code=LEFT)
        finally:
            room.leave()

    summary = f"Ask {model.name}" + (" (the one model here)" if path == PREDICT else "")
    served.add_api_route(path, predict, methods=["POST"], summary=summary, tags=["predict"], response_class=Response)


async def _answer(model: Model, values: list[Any], single: bool, request: Request, state: State) -> Response:
    try:
        serving, job = model.submit(values)
    except FullError as fault:
        what, do = "too many inputs wait already", f"try again in {retry_after(fault)} s"
        raise RefusedError(503, what, do=do, retry_after=retry_after(fault)) from fault
    leaving: asyncio.Future[Any] = asyncio.ensure_future(
        request.receive()
    )  # the body is read: all that can come is that the caller left
    try:
        await asyncio.wait([job.future, leaving], timeout=state.limits.answer_seconds, return_when="FIRST_COMPLETED")
        if job.future.done():
            return _answered(model, serving, job.future.result(), single, state)
        if leaving.done():
            raise ClientDisconnect
        what = f"there was no answer within {state.limits.answer_seconds:g} s"
        raise RefusedError(503, what, do="try again later, or send fewer inputs at a time", retry_after=1)
    finally:
        leaving.cancel()
        serving.batcher.cancel(job)


def _answered(model: Model, serving: Serving, answers: list[Any], single: bool, state: State) -> Response:
    told = [error(a, f"input {place}") if isinstance(a, Exception) else a for place, a in enumerate(answers)]
    failed = sum(isinstance(answer, Exception) for answer in answers)
    state.metrics.inputs.labels(model.name, "failed").inc(failed)
    state.metrics.inputs.labels(model.name, "answered").inc(len(answers) - failed)
    version = serving.loaded.reference
    headers = {VERSION_HEADER: version}
    if single and failed:
        state.metrics.refused.labels("invalid").inc()
        return _json({**told[0], "version": version}, 422, headers)
    return _json({**({"answer": told[0]} if single else {"answers": told}), "version": version}, 200, headers)


class _Room:
    """What one request takes of the memory for all bodies."""

    def __init__(self, state: State) -> None:
        self._state, self._mine = state, 0

    def take(self, more: int) -> bool:
        """Whether there is room for so many bytes more; who is alone always has it."""
        others = self._state.held - self._mine
        if others and self._state.held + more > self._state.limits.bodies:
            return False
        self._mine += more
        self._state.held += more
        return True

    def leave(self) -> None:
        """Give all of it back."""
        self._state.held -= self._mine
        self._mine = 0


async def _body(request: Request, limits: Limits, room: _Room) -> bytes:
    """The body, of which no more than is allowed is held. Raises RefusedError for one that is too large or too slow, or
    for which there is no memory now."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(415, "a compressed body is not read", where="headers", do="send it as it is")
    body, declared = bytearray(), request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body:
        await _too_large(request, limits)
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                if not room.take(len(chunk)):
                    await _pass(request)
                    what = "too many bytes of requests wait already"
                    raise RefusedError(503, what, do="try again in 1 s, or send fewer inputs at a time", retry_after=1)
                body += chunk
                if len(body) > limits.body:
                    break
    except TimeoutError as fault:
        what = f"the body did not come within {limits.body_seconds:g} s"
        raise RefusedError(408, what, do="send it at once") from fault
    if len(body) > limits.body:
        await _too_large(request, limits)
    return bytes(body)


async def _too_large(request: Request, limits: Limits) -> NoReturn:
    await _pass(request)
    what = f"the request is larger than {limits.body / 2**20:g} MiB"
    raise RefusedError(413, what, do="send fewer inputs at a time")


async def _pass(request: Request) -> None:
    """Let some of a refused body pass: a caller who is still sending would else never read the refusal."""
    passed = 0
    if "expect" not in request.headers:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARDED_SECONDS):
                while passed < _DISCARDED_BYTES:
                    message = await asyncio.wait_for(request.receive(), _PAUSE_SECONDS)
                    if not message.get("more_body"):
                        break
                    passed += len(message.get("body", b""))


def _refusal(fault: RefusedError) -> Response:
    headers = {"retry-after": str(fault.retry_after)} if fault.retry_after else {}
    if fault.status in (408, 413):
        headers["connection"] = "close"  # what is left of the body is not read
    return _json(error(fault), fault.status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """ASCII, so that half a surrogate pair in a text cannot make the response fail."""
    return Response(json.dumps(value, allow_nan=False), status, headers, media_type="application/json")


# ---- all the rest ----------------------------------------------------------------------------------------------------


def _add_about(served: FastAPI, state: State) -> None:
    @served.get("/v1/models", summary="The served models and the versions that answer", tags=["about"])
    async def models() -> Response:
        return _json({"models": [model.told() for model in state.models]})

    @served.get("/healthz", summary="The process is alive", tags=["about"])
    async def healthz() -> Response:
        return _json({"status": "ok"})

    @served.get("/readyz", summary="Requests may be sent here", tags=["about"])
    async def readyz() -> Response:
        why = state.unready()
        return _json({"status": why or "ready"}, 503 if why else 200)

    @served.get("/metrics", summary="Numbers for Prometheus", tags=["about"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @served.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page.html(served.openapi()))


def _add_faults(served: FastAPI, state: State) -> None:
    @served.exception_handler(HTTPException)
    async def refused(request: Request, fault: HTTPException) -> Response:
        paths = ", ".join(predict_path(model) for model in state.models)
        what = {404: "there is nothing here", 405: "this path takes another method"}.get(fault.status_code, "refused")
        told = RefusedError(fault.status_code, what, where="path", do=f"POST {paths}, or see /docs")
        return _json(error(told), fault.status_code, dict(fault.headers or {}))

    @served.exception_handler(Exception)
    async def failed(request: Request, fault: Exception) -> Response:
        return _json(error(RefusedError(500, "the server failed; its log says how")), 500)


def _openapi(served: FastAPI, state: State) -> dict[str, Any]:
    """The schema of what is served now: another version may have other labels."""
    told: dict[str, Any] = get_openapi(title="Danlu", version="1", routes=served.routes)
    for path, model in [*((predict_path(m), m) for m in state.models), (PREDICT, state.models[0])]:
        if path in told["paths"]:
            told["paths"][path]["post"].update(_predict_schema(model, state.limits))
    return told


def _predict_schema(model: Model, limits: Limits) -> dict[str, Any]:
    task = model.current.loaded.predictor.task
    header = {VERSION_HEADER: {"description": "the version that answered", "schema": {"type": "string"}}}
    failures = {
        "400": "not JSON",
        "408": "the body came too slowly",
        "413": "too large",
        "415": "compressed",
        "422": "not as the schema says",
        "503": "overload; try again after `Retry-After` seconds",
    }
    answered = {"description": "the answers", "headers": header, "content": _content(response_schema(task))}
    refused = {s: {"description": what, "content": _content(error_schema())} for s, what in failures.items()}
    body = {"required": True, "content": _content(request_schema(task, limits.inputs))}
    return {"requestBody": body, "responses": {"200": answered, **refused}}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
