"""A model whose right answer anybody can compute, sources that can be told what to serve, and plain HTTP clients."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np

from danlu.core.errors import DataError
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor
from danlu.serving.hosting import Loaded


class Letters:
    """A processor that counts letters; `bad`, `crash` and `exit` are texts it fails at."""

    pad = {}

    def inputs(self, text, max_length):
        if text == "bad":
            raise DataError("this text cannot be counted", do="send another")
        if text == "crash":
            raise ZeroDivisionError
        if text == "exit":
            raise SystemExit
        return {"n": np.float32(len(text))}


class Length:
    """A form: the longer the text, the surer it is of `long`. `shift` makes another version of it."""

    def __init__(self, shift=0.0, before=lambda inputs: None):
        self.shift, self.before = shift, before

    def forward(self, inputs):
        self.before(inputs)
        n = inputs["n"] + self.shift
        return {"logits": np.stack([(100 - n) / 20, n / 20], axis=1)}

    def resume(self, examples):
        return None


def predictor(shift=0.0, batch_size=8, before=lambda inputs: None, form=None):
    task = TextClassification(text="t", label="l", labels=("short", "long"))
    return Predictor(form or Length(shift, before), task, Letters(), batch_size)


def expected(text, shift=0.0):
    """The share of `long` in the right answer."""
    n = len(text) + shift
    return 1 / (1 + np.exp((100 - 2 * n) / 20))


class Versions:
    """A source that serves the versions it is given by number; `wants` is the alias."""

    def __init__(self, versions, wants=1, name="toy", alias="production"):
        self.versions, self.wants, self.name, self.alias = versions, wants, name, alias
        self.loads = []

    def wanted(self):
        return self.wants() if callable(self.wants) else self.wants

    def load(self, number):
        self.loads.append(number)
        made = self.versions[number]()
        if isinstance(made, Loaded):
            return made
        return loaded(made, number, self.name)


def loaded(made, number, name="toy", **more):
    """A version with the sample that it would have been published with."""
    asked = ["a", "b" * 60]
    sample = [{"input": x, "answer": answer} for x, answer in zip(asked, made(asked), strict=True)]
    return Loaded(**{"reference": f"{name}@{number}", "number": number, "form": "onnx", "predictor": made,
                     "sample": sample} | more)  # fmt: skip


def post(url, body, path="/v1/predict", method="POST", headers=None):
    """Status, parsed body and headers of one request over a connection of its own."""
    if not isinstance(body, bytes | type(None)):
        body = json.dumps(body).encode()
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        kind = response.headers.get("content-type", "")
        return response.status, json.loads(content) if "json" in kind else content.decode(), response.headers


def raw(url, *pieces, pause=0.0, read=True, patience=15.0, end=False):
    """Bytes sent over a bare socket, and all that comes back until the other side closes, or is silent after it spoke.

    With `end` this side is closed after the last piece.
    Raises TimeoutError when nothing comes for `patience` seconds.
    """
    host, _, port = urlsplit(url).netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=patience) as connection:
        wait = threading.Event()
        try:
            for piece in pieces:
                connection.sendall(piece)
                if pause:
                    wait.wait(pause)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        received = b""
        try:
            while read and (chunk := connection.recv(65536)):
                received += chunk
        except TimeoutError:
            if not received:
                raise
        except OSError:
            pass
        return received


def head(length, path="/v1/predict", **headers):
    """The head of a POST."""
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {length}"]
    return "\r\n".join([*lines, *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()), "", ""]).encode()
