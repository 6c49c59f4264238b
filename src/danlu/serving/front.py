"""A predictor over HTTP: `POST /v1/predict`, `GET /healthz`, and the schema at `/openapi.json`.

It knows no task: what a request and an answer look like, the task says. It imports no torch, so a form that needs none
is served without it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from danlu.core.errors import MachineError
from danlu.predictor import Predictor
from danlu.serving.wire import PREDICT, RefusedError, error, is_error, read_request, request_schema, response_schema

MOST_INPUTS = 256
MOST_BYTES = 32 * 2**20


def app(predictor: Predictor, *, most_inputs: int = MOST_INPUTS, most_bytes: int = MOST_BYTES) -> FastAPI:
    """The application; one request runs the model at a time."""
    alone = asyncio.Lock()
    served = FastAPI(title="Danlu", docs_url=None, redoc_url=None)
    schema = {
        "requestBody": {"content": {"application/json": {"schema": request_schema(predictor.task, most_inputs)}}},
        "responses": {"200": {"content": {"application/json": {"schema": response_schema(predictor.task)}}}},
    }

    @served.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "task": predictor.task.name}

    @served.post(PREDICT, openapi_extra=schema)
    async def predict(request: Request) -> Response:
        try:
            values, single = read_request(await _body(request, most_bytes), most_inputs)
        except RefusedError as fault:
            return _json(error(fault), fault.status)
        async with alone:
            answers = await run_in_threadpool(_answers, predictor, values)
        if single:
            failed = is_error(answers[0])
            return _json(answers[0] if failed else {"answer": answers[0]}, 422 if failed else 200)
        return _json({"answers": answers})

    return served


def _json(value: Any, status: int = 200) -> Response:
    """ASCII, so that half a surrogate pair in a text cannot make the response fail."""
    return Response(json.dumps(value, allow_nan=False), status, media_type="application/json")


async def _body(request: Request, most: int) -> bytes:
    """The body, of which no more than `most` bytes are held."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise RefusedError(413, f"the request is larger than {most // 2**20} MiB", do="send fewer inputs at a time")
    return bytes(body)


def _answers(predictor: Predictor, values: list[Any]) -> list[Any]:
    """One answer, or one error, for each JSON value: a bad one fails alone."""
    answers: list[Any] = [None] * len(values)
    inputs: dict[int, Any] = {}
    for place, value in enumerate(values):
        try:
            inputs[place] = predictor.task.from_json(value)
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with one input, the others are answered
            answers[place] = error(fault, f"input {place}")
    for place, answer in zip(inputs, predictor.try_all(list(inputs.values())), strict=True):
        answers[place] = error(answer, f"input {place}") if isinstance(answer, Exception) else answer
    return answers


@contextmanager
def served(predictor: Predictor) -> Iterator[str]:
    """Serve on a free port of this machine's own loopback while the block runs; gives the base URL.

    Raises MachineError when the server does not start.
    """
    # asyncio sends small segments at once (TCP_NODELAY) only on sockets that name their protocol; else 40 ms are lost.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = uvicorn.Server(uvicorn.Config(app(predictor), log_level="warning", lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],), name="danlu-front", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    while not server.started:
        if not thread.is_alive():
            raise MachineError("the server did not start", do="run again with more memory, or see the log above")
        pause.wait(0.01)
