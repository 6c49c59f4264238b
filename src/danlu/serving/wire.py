"""Requests and answers as JSON: what is taken, what is refused and why, and a client that speaks it.

A request is `{"inputs": [x, …]}`, answered by `{"answers": [answer, …]}`, or `{"input": x}`, answered by
`{"answer": …}`. What an input looks like is the task's business (`Task.request_schema`, `Task.from_json`). Where an
input of a list is wrong, its place in the answers holds `{"error": {"what", "where", "do"}}`; anything else that is
wrong is the whole response, `{"error": …}` with a status of 4xx, or of 503 where a later try may be answered. The
version that answered is told beside the answers as `version`, and in the header `x-danlu-version`.
"""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from danlu.contracts import Answer, Task
from danlu.core.errors import DanluError, DataError, MachineError

PREDICT = "/v1/predict"
VERSION_HEADER = "x-danlu-version"


@dataclass(frozen=True)
class Limits:
    """What a server takes, and for how long it waits. How much of a long text is read is the task's business."""

    inputs: int = 256
    """Inputs in one request."""
    body: int = 8 * 2**20
    """Bytes of a request's body."""
    bodies: int = 64 * 2**20
    """Bytes of all bodies that are being read or wait for their answers; one alone is taken whatever its size."""
    head: int = 32 * 2**10
    """Bytes of a request's line and headers."""
    depth: int = 64
    """How deep lists and objects may lie in one another."""
    waiting: int = 1024
    """Inputs that may wait for one model; more are answered with 503."""
    connections: int = 1000
    """Connections at once; more are answered with 503."""
    head_seconds: float = 10.0
    """For the line and the headers of a request, from the connection's first byte on or the response before."""
    body_seconds: float = 10.0
    """For the body of a request."""
    answer_seconds: float = 30.0
    """For the answer, waiting included."""
    load_seconds: float = 60.0
    """For a new version to be loaded and to answer its stored sample."""


class RefusedError(DanluError):
    """A request that is answered with an error; `status` is the HTTP status.

    `retry_after` is after how many seconds a further try makes sense; 0: not at all.
    """

    def __init__(self, status: int, what: str, *, where: str = "request", do: str = "", retry_after: int = 0) -> None:
        super().__init__(what, where=where, do=do)
        self.status, self.retry_after = status, retry_after


def head_too_large() -> RefusedError:
    """A request's line and headers are more than `Limits.head`."""
    return RefusedError(431, "the request's line and headers are too large", where="headers", do="send fewer headers")


def read_request(body: bytes, limits: Limits) -> tuple[list[Any], bool]:
    """The inputs of a request as JSON values, and whether it asked for one alone. Raises RefusedError."""
    send = 'send {"inputs": [...]}'
    try:
        told = json.loads(body, parse_constant=_no_number, parse_float=_number)
    except RecursionError as error:
        raise RefusedError(400, "the request is nested too deeply", do=send) from error
    except ValueError as error:
        raise RefusedError(400, f"the request is not JSON: {_in_short(error)}", do=send) from error
    if not isinstance(told, dict) or len(told) != 1 or next(iter(told)) not in ("input", "inputs"):
        raise RefusedError(422, "the request must have one key, `inputs` or `input`", do=send)
    if _deeper(told, limits.depth):
        raise RefusedError(400, f"the request is nested more than {limits.depth} deep", do=send)
    if "input" in told:
        return [told["input"]], True
    inputs = told["inputs"]
    if not isinstance(inputs, list) or not inputs:
        raise RefusedError(422, "`inputs` must be a list of at least one input", where="inputs", do=send)
    if len(inputs) > limits.inputs:
        what = f"{len(inputs):,} inputs are too many, at most {limits.inputs:,} are taken"
        raise RefusedError(413, what, where="inputs", do="send fewer inputs at a time")
    return inputs, False


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _in_short(fault: ValueError) -> str:
    """What is wrong and at which place, never what was sent."""
    if isinstance(fault, UnicodeDecodeError):
        return f"byte {fault.start} is not {fault.encoding}"
    return str(fault)[:200]


def _deeper(value: Any, most: int) -> bool:
    """Whether lists and objects lie in one another more than `most` deep."""
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def error(fault: Exception, where: str = "") -> dict[str, Any]:
    """A fault as a JSON value. Of an error that Danlu did not raise on purpose only its kind is told."""
    if not isinstance(fault, DanluError):
        fault = DataError(f"the input can't be answered ({type(fault).__name__})")
    place = ", ".join(part for part in (where, fault.where) if part)
    return {"error": {"what": fault.what, "where": place, "do": fault.do}}


def is_error(told: Any) -> bool:
    """Whether a JSON value is what `error` makes; an answer may be any other, also a number."""
    return isinstance(told, dict) and told.keys() == {"error"}


def request_schema(task: Task, most_inputs: int) -> dict[str, Any]:
    """JSON Schema of a request."""
    one = task.request_schema()
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": most_inputs}
    shapes = [
        {"type": "object", "properties": {name: shape}, "required": [name], "additionalProperties": False}
        for name, shape in (("inputs", many), ("input", one))
    ]
    return {"oneOf": shapes}


def error_schema() -> dict[str, Any]:
    """JSON Schema of an error: the whole response, or one among the answers."""
    names = ("what", "where", "do")
    fields = {"type": "object", "properties": {key: {"type": "string"} for key in names}, "required": list(names)}
    return {"type": "object", "properties": {"error": fields}, "required": ["error"]}


def response_schema(task: Task) -> dict[str, Any]:
    """JSON Schema of a response with status 200."""
    many = {"type": "array", "items": {"anyOf": [task.answer_schema(), error_schema()]}}
    version = {"type": "string", "description": "the version that answered"}
    answered = {"answers": many, "answer": task.answer_schema(), "version": version}
    return {"type": "object", "properties": answered, "required": ["version"]}


class Client:
    """Asks a server over one connection, as a caller of the task would."""

    def __init__(self, url: str, task: Task, timeout: float = 120.0) -> None:
        self._task, self._url = task, url
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)

    def __call__(self, inputs: Sequence[Any]) -> list[Answer]:
        """The answers to some inputs, in one request. Raises DataError for what the server refuses."""
        told = self.post({"inputs": [self._task.to_json(x) for x in inputs]})
        failed = told if is_error(told) else next((a for a in told["answers"] if is_error(a)), None)
        if failed:
            raise DataError(failed["error"]["what"], where=failed["error"]["where"], do=failed["error"]["do"])
        answers: list[Answer] = told["answers"]
        return answers

    def post(self, request: Any) -> dict[str, Any]:
        """The server's response to a JSON value. Raises MachineError when it can't be reached."""
        try:
            body = json.dumps(request).encode()
            self._connection.request("POST", PREDICT, body, {"Content-Type": "application/json"})
            told: dict[str, Any] = json.loads(self._connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as fault:
            raise MachineError(f"the server did not answer: {fault}", where=self._url) from fault
        return told

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
