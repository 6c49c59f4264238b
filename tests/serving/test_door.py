import http.client
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from asking import Versions, post, predictor

from danlu.core.errors import RecipeError
from danlu.serving import front
from danlu.serving.door import OPEN, Keys, read_keys
from danlu.serving.server import running
from danlu.serving.wire import Limits

KEY, OTHER = "k" * 32, "o" * 40
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND")
CLASSIFIED = {
    "/healthz": "open",
    "/readyz": "open",
    "/metrics": "closed",
    "/docs": "closed",
    "/openapi.json": "closed",
    "/v1/models": "closed",
    "/v1/predict": "closed",
    "/v1/models/toy/predict": "closed",
}
"""Every route, by hand: one that is added must be put here."""


@pytest.fixture(scope="module")
def served():
    with running([Versions({1: predictor})], Limits(), Keys([KEY, OTHER])) as (url, state):
        yield url, state


def status(url, method, path, **headers):
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        return connection.getresponse().status


def routes(state):
    return {route.path for route in front.app(state)._app.routes}


def test_every_route_is_classified(served):
    assert routes(served[1]) == set(CLASSIFIED)
    assert {path for path, kind in CLASSIFIED.items() if kind == "open"} == OPEN


@pytest.mark.parametrize("method", METHODS)
def test_no_route_answers_without_a_key(served, method):
    url, _ = served
    paths = [path for path, kind in CLASSIFIED.items() if kind == "closed"]
    tricks = [
        "/v1",
        "/",
        "//healthz",
        "/healthz/",
        "/healthz/../metrics",
        "/HEALTHZ",
        "/readyz%2f..%2fmetrics",
        "/x/healthz",
    ]
    wrong = ["", "k" * 31, KEY + "k", KEY.upper(), "Bearer"]
    for path in [*paths, *tricks]:
        assert status(url, method, path) == 401
    for key in wrong:
        assert status(url, method, "/metrics", authorization=f"Bearer {key}", x_api_key=key) == 401
        assert status(url, method, f"/metrics?api_key={KEY}", authorization=f"Basic {KEY}") == 401


@pytest.mark.parametrize(
    "header", [{"x_api_key": KEY}, {"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {OTHER}"}]
)
def test_a_key_opens(served, header):
    assert status(served[0], "GET", "/metrics", **header) == 200
    assert status(served[0], "GET", "/v1/models", **header) == 200


def test_health_needs_no_key(served):
    assert {status(served[0], "GET", path) for path in OPEN} == {200}


def test_a_refusal_says_how_to_ask(served):
    got, told, headers = post(served[0], {"input": "x"})
    assert (got, headers["www-authenticate"]) == (401, "Bearer")
    assert "x-api-key" in told["error"]["do"]


def test_a_route_outside_the_list_of_open_ones_is_closed_without_being_told(served):
    app = front.app(served[1], Keys([KEY]))
    app._app.add_api_route("/new", lambda: "secret")
    said = []

    async def send(message):
        said.append(message)

    import asyncio

    scope = {"type": "http", "path": "/new", "method": "GET", "headers": []}
    asyncio.run(app(scope, None, send))
    assert said[0]["status"] == 401


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "there is no key in it"),
        ("\n \n", "there is no key in it"),
        ("k" * 31, "key 1 is not at least 32"),
        (f"{KEY}\n{'a b' * 20}", "key 2 is not at least 32"),
        ("钥" * 40, "must be printable ASCII"),
        (None, "can't be read"),
    ],
)
def test_a_bad_key_file(tmp_path, content, what):
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=what) as fault:
        read_keys(path)
    assert KEY not in str(fault.value)


def test_a_key_file_may_hold_an_old_and_a_new_key(tmp_path):
    (tmp_path / "keys").write_text(f"{KEY}\r\n\n  {OTHER}\n")
    keys = read_keys(tmp_path / "keys")
    assert keys.open_with({b"x-api-key": KEY.encode()})
    assert keys.open_with({b"authorization": b"Bearer " + OTHER.encode()})
    assert not keys.open_with({b"x-api-key": b""})
    assert KEY not in repr(vars(keys))
