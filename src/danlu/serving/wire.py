"""Requests and answers as JSON: what is taken, what is refused and why, and a client that speaks it.

A request is `{"inputs": [x, …]}`, answered by `{"answers": [answer, …]}`, or `{"input": x}`, answered by
`{"answer": …}`. What an input looks like is the task's business (`Task.request_schema`, `Task.from_json`). Where an
input of a list is wrong, its place in the answers holds `{"error": {"what", "where", "do"}}`; anything else that is
wrong is the whole response, `{"error": …}` with a status of 400, 413 or 422.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from danlu.contracts import Answer, Task
from danlu.core.errors import DanluError, DataError, MachineError

PREDICT = "/v1/predict"


class RefusedError(DanluError):
    """A request that is answered with an error; `status` is the HTTP status."""

    def __init__(self, status: int, what: str, *, where: str = "request", do: str = "") -> None:
        super().__init__(what, where=where, do=do)
        self.status = status


def read_request(body: bytes, most_inputs: int) -> tuple[list[Any], bool]:
    """The inputs of a request as JSON values, and whether it asked for one alone. Raises RefusedError."""
    try:
        told = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the request is not JSON: {error}", do='send {"inputs": [...]}') from error
    if not isinstance(told, dict) or len(told) != 1 or next(iter(told)) not in ("input", "inputs"):
        raise RefusedError(422, "the request must have one key, `inputs` or `input`", do='send {"inputs": [...]}')
    if "input" in told:
        return [told["input"]], True
    inputs = told["inputs"]
    if not isinstance(inputs, list) or not inputs:
        raise RefusedError(
            422, "`inputs` must be a list of at least one input", where="inputs", do='send {"inputs": [...]}'
        )
    if len(inputs) > most_inputs:
        raise RefusedError(
            413, f"{len(inputs):,} inputs are too many, at most {most_inputs:,} are taken", where="inputs"
        )
    return inputs, False


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


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


def response_schema(task: Task) -> dict[str, Any]:
    """JSON Schema of a response with status 200."""
    fields = {"type": "object", "properties": {key: {"type": "string"} for key in ("what", "where", "do")}}
    failed = {"type": "object", "properties": {"error": fields}, "required": ["error"]}
    many = {"type": "array", "items": {"anyOf": [task.answer_schema(), failed]}}
    return {"type": "object", "properties": {"answers": many, "answer": task.answer_schema()}}


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
