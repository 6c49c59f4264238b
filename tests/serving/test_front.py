import http.client
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from danlu.core.errors import DataError, MachineError
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor
from danlu.serving.server import served
from danlu.serving.wire import Client, Limits


class Letters:
    """A processor that counts letters; it cannot count in `bad`."""

    pad = {}

    def inputs(self, text, max_length):
        if text == "bad":
            raise DataError("this text cannot be counted", do="send another")
        if text == "crash":
            raise ZeroDivisionError
        return {"n": np.float32(len(text))}


class Length:
    """A form: the longer the text, the surer it is of `long`."""

    def forward(self, inputs):
        n = inputs["n"]
        return {"logits": np.stack([10 - n, n], axis=1)}

    def resume(self, examples):
        return None


@pytest.fixture(scope="module")
def predictor():
    return Predictor(Length(), TextClassification(text="t", label="l", labels=("short", "long")), Letters())


@pytest.fixture(scope="module")
def url(predictor):
    with served(predictor) as url:
        yield url


@pytest.fixture
def ask(url, predictor):
    with closing(Client(url, predictor.task)) as client:
        yield client


def post(url, body, path="/v1/predict", method="POST"):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    with closing(connection):
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_the_answers_are_those_of_the_predictor_bit_for_bit(ask, predictor):
    texts = ["a", "abcdefghijk", "", "头发" * 9]
    assert ask(texts) == predictor(texts)


def test_one_input_gets_one_answer(ask, predictor):
    assert ask.post({"input": "hello"}) == {"answer": predictor(["hello"])[0], "version": "model"}


def test_a_bad_input_fails_alone(ask, predictor):
    told = ask.post({"inputs": ["a", "bad", 7, "crash", "b"]})["answers"]
    assert told[0] == predictor(["a"])[0]
    assert told[4] == predictor(["b"])[0]
    assert told[1] == {"error": {"what": "this text cannot be counted", "where": "input 1", "do": "send another"}}
    assert "must be a string, not int" in told[2]["error"]["what"]
    assert told[3]["error"]["what"] == "the input can't be answered (ZeroDivisionError)"


def test_the_client_raises_for_an_input_that_failed(ask):
    with pytest.raises(DataError, match="input 1: this text cannot be counted"):
        ask(["a", "bad"])


@pytest.mark.parametrize(
    ("body", "status", "what"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"inputs": [NaN]}', 400, "NaN is not a JSON number"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b"[]", 422, "must have one key"),
        (b'{"text": "a"}', 422, "must have one key"),
        (b'{"inputs": ["a"], "input": "a"}', 422, "must have one key"),
        (b'{"inputs": "a"}', 422, "must be a list"),
        (b'{"inputs": []}', 422, "must be a list"),
        (json.dumps({"inputs": ["a"] * 257}).encode(), 413, "257 inputs are too many, at most 256"),
        (b'{"input": "bad"}', 422, "cannot be counted"),
        (b'{"input": {"a": 1}}', 422, "must be a string, not dict"),
    ],
)
def test_a_request_that_is_refused_says_what_and_where(url, body, status, what):
    got, told = post(url, body)
    assert got == status
    assert what in told["error"]["what"]
    assert told["error"]["where"]


def test_a_body_that_is_too_large_is_not_read_to_its_end(predictor):
    with served(predictor, Limits(body=2**20)) as url:
        status, told = post(url, json.dumps({"inputs": ["a" * 2**21]}).encode())
        assert (status, told["error"]["what"]) == (413, "the request is larger than 1 MiB")
        assert post(url, b'{"input": "a"}')[0] == 200


def test_half_a_surrogate_pair_breaks_nothing(url):
    assert post(url, b'{"inputs": ["\\ud800", "a"]}')[0] == 200


def test_health_and_schema(url, predictor):
    assert post(url, None, "/healthz", "GET") == (200, {"status": "ok"})
    status, api = post(url, None, "/openapi.json", "GET")
    predict = api["paths"]["/v1/predict"]["post"]
    request = Draft202012Validator(predict["requestBody"]["content"]["application/json"]["schema"])
    response = Draft202012Validator(predict["responses"]["200"]["content"]["application/json"]["schema"])
    assert status == 200
    assert request.is_valid({"inputs": ["a"]})
    assert request.is_valid({"input": "a"})
    assert not request.is_valid({"inputs": [1]})
    assert response.is_valid({"answers": predictor(["a"]), "version": "model"})
    assert not response.is_valid({"answers": [{"label": "neither"}], "version": "model"})


def test_many_callers_at_once_get_their_own_answers(url, predictor):
    def call(k):
        with closing(Client(url, predictor.task)) as client:
            return [client(["x" * k]) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        for k, answers in enumerate(pool.map(call, range(24))):
            assert answers == [predictor(["x" * k])] * 5


def test_pictures_cross_the_wire_unchanged():
    class Pixels:
        pad = {}

        def inputs(self, x):
            from danlu.blocks.pixels import open_picture

            return {"n": np.float32(np.asarray(open_picture(x)).sum() % 20)}

    task = ImageClassification(image="i", label="l", labels=("dark", "light"))
    predictor = Predictor(Length(), task, Pixels())
    pictures = [task.ask(row) for row in task.sample(6)]
    with served(predictor) as url, closing(Client(url, task)) as client:
        assert client(pictures) == predictor(pictures)
        assert "error" in client.post({"input": "not base64!"})


def test_a_server_that_is_gone_is_told(predictor):
    with served(predictor) as url:
        client = Client(url, predictor.task)
        assert client(["a"])
        client.close()
    with pytest.raises(MachineError, match="the server did not answer"):
        client(["a"])


def test_serving_needs_no_torch():
    code = "import danlu.serving.server, danlu.serving.wire, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_answer_may_be_a_number():
    class Loudness(TextClassification):
        """A number for a text."""

        def decode(self, x, examples, outputs, processor):
            return 1.5

    task = Loudness(text="t", label="l", labels=("short", "long"))
    with served(Predictor(Length(), task, Letters())) as url, closing(Client(url, task)) as client:
        assert client(["a", "bb"]) == [1.5, 1.5]
        assert client.post({"input": "a"}) == {"answer": 1.5, "version": "model"}
