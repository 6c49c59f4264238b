import json
import queue
import shutil
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from danlu.bundle import Forms
from danlu.registry.store import Registry

KEY = "k" * 40


@pytest.fixture
def store(digits_store, tmp_path):
    """A store with two versions of `digits`: the first serves int8, the second onnx. Production is the first."""
    registry = Registry(digits_store)
    first = registry.version("digits", 1)
    folder = tmp_path / "second"
    shutil.copytree(registry.open(first), folder)
    folder.chmod(0o755)
    forms = Forms.open(folder)
    (folder / "forms.json").unlink()
    Forms.write(folder, forms.specs, "onnx")
    registry.publish("digits", folder, metadata={})
    return digits_store


def get(url, body=None, **headers):
    """Status, JSON and headers."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as response:
            return response.status, json.loads(response.read()), response.headers
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read()), refused.headers


class Server:
    """`danlu serve` as a process; `url` is where it says that it listens."""

    def __init__(self, process):
        self.process, self.lines, self._said = process, [], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        while not self.lines or not self.lines[-1].startswith("http://"):
            self.lines.append(self._said.get(timeout=60))
            assert self.lines[-1] is not None, process.stderr.read()
        self.url = self.lines[-1].split()[0]

    def _read(self):
        for line in self.process.stdout:
            self._said.put(line.rstrip("\n"))
        self._said.put(None)

    def end(self, number=signal.SIGTERM):
        """Its exit code and what it said on standard error."""
        self.process.send_signal(number)
        return self.process.wait(30), self.process.stderr.read()


@pytest.fixture
def serve(command, store):
    """Start the server; it is gone after the test."""
    started = []

    def serve(*arguments):
        process = command("serve", *arguments, "--port", 0, "--store", store)
        started.append(process)
        return Server(process)

    yield serve
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def picture():
    from danlu.plugins.tasks.image_classification import ImageClassification

    task = ImageClassification(image="i", label="l", labels=tuple("0123456789"))
    return task.to_json(task.ask(task.sample(1)[0]))


def until(holds, seconds=30):
    began = time.monotonic()
    while not (found := holds()):
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return found


def test_it_says_where_and_what_and_how_to_ask_and_needs_no_torch(serve, picture):
    server = serve("digits")
    assert server.lines[0] == "digits@1, form int8, image_classification, follows digits@production"
    assert "curl http://127.0.0.1:" in "\n".join(server.lines)
    status, told, headers = get(f"{server.url}/v1/predict", {"inputs": [picture, "no"]})
    assert (status, headers["x-danlu-version"], told["version"]) == (200, "digits@1", "digits@1")
    assert set(told["answers"][0]["scores"]) == set("0123456789")
    assert told["answers"][1]["error"]["where"].startswith("input 1")
    assert get(f"{server.url}/readyz")[0] == 200
    assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()
    code, err = server.end()
    assert (code, "Traceback" in err) == (0, False)


def test_promote_and_rollback_change_what_is_served(serve, danlu, store, picture):
    server = serve("digits")

    def version():
        return get(f"{server.url}/v1/predict", {"input": picture})[1]["version"]

    assert version() == "digits@1"
    assert danlu("promote", "digits@2", "--store", store).code == 0
    until(lambda: version() == "digits@2")
    (told,) = get(f"{server.url}/v1/models")[1]["models"]
    assert (told["version"], told["form"], told["alias"], told["error"]) == ("digits@2", "onnx", "production", None)
    assert danlu("rollback", "digits", "--store", store).code == 0
    until(lambda: version() == "digits@1")
    assert "digits@1 answers now, before it digits@2" in server.end()[1]


def test_a_version_by_number_stays_and_one_whose_files_go_goes_on(serve, danlu, store, picture):
    server = serve("digits@2")
    assert server.lines[0] == "digits@2, form onnx, image_classification"
    danlu("promote", "digits@1", "--store", store)
    for folder in ("versions", "blobs"):
        for path in (store / folder).rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(store / folder)
    (store / "registry.db").unlink()
    time.sleep(0.6)
    assert get(f"{server.url}/v1/predict", {"input": picture})[1]["version"] == "digits@2"


def test_a_version_that_is_damaged_is_not_served_and_is_told(serve, danlu, store, picture):
    server = serve("digits")
    registry = Registry(store)
    second = registry.version("digits", 2)
    own = next(file for path, file in second.files.items() if path == "forms.json")
    registry.blobs.path(own.sha256).chmod(0o644)
    registry.blobs.path(own.sha256).write_bytes(b"{}")
    assert danlu("promote", "digits@2", "--store", store).code == 3, "promote looks first"
    registry.move("digits", "production", to=2)
    told = until(lambda: get(f"{server.url}/v1/models")[1]["models"][0]["error"])
    assert (told["version"], "SHA-256" in told["what"] or "damaged" in told["what"]) == ("digits@2", True)
    assert get(f"{server.url}/v1/predict", {"input": picture})[1]["version"] == "digits@1"
    assert "digits@2 does not answer, digits@1 goes on" in server.end()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_drains_what_is_under_way_is_answered(serve, picture, number):
    server = serve("digits")
    host, _, port = server.url.removeprefix("http://").partition(":")
    body = json.dumps({"inputs": [picture] * 64}).encode()
    start = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(start + body[:100])
        until(lambda: "danlu_requests_in_flight 2.0" in text(f"{server.url}/metrics"))
        server.process.send_signal(number)
        until(lambda: draining(server.url))
        connection.sendall(body[100:])
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, content = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head
    assert len(json.loads(content)["answers"]) == 64
    assert server.process.wait(30) == 0
    assert "stopping" in server.process.stderr.read()


def text(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read().decode()


def draining(url):
    """Whether the server says that it is not ready, or takes no connections any more."""
    try:
        return get(f"{url}/readyz")[0] == 503
    except OSError:
        return True


def test_keys_and_a_log_that_says_nothing_of_what_was_asked(serve, tmp_path, picture):
    (tmp_path / "keys").write_text(KEY)
    server = serve("digits", "--api-key-file", tmp_path / "keys", "--log", "json")
    assert get(f"{server.url}/v1/predict", {"input": picture})[0] == 401
    assert get(f"{server.url}/v1/predict", {"input": picture}, x_api_key=KEY)[0] == 200
    assert get(f"{server.url}/readyz")[0] == 200
    assert KEY not in "\n".join(server.lines)
    lines = [json.loads(line) for line in server.end()[1].splitlines() if line.startswith("{")]
    asked = [line for line in lines if line.get("route") == "/v1/predict"]
    assert [(line["status"], line["version"]) for line in asked] == [(401, None), (200, "digits@1")]
    assert all(KEY not in str(line) and picture[:30] not in str(line) for line in lines)


@contextmanager
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_in_use(danlu, store):
    with taken() as port:
        said = danlu("serve", "digits", "--port", port, "--store", store)
    assert said.code == 4
    assert f"port {port} of 127.0.0.1 can't be listened on: Address already in use" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["digit"], 2, "did you mean digits?"),
        (["digits@9"], 2, "there is no version 9"),
        (["digits@staging"], 2, "has no alias staging"),
        (["digits", "digits@2"], 2, "digits is named twice"),
        (["digits", "--form", "int4"], 2, "--form: digits@1 has no form 'int4'\n"),
        (["digits", "--host", "0.0.0.0"], 2, "can be reached from other machines, and there is no key"),
        (["digits", "--host", "nowhere.invalid"], 4, "there is no address nowhere.invalid"),
        (["digits", "--api-key-file", "none"], 2, "the keys can't be read"),
    ],
)
def test_what_cannot_be_served(danlu, store, arguments, code, told):
    said = danlu("serve", *arguments, "--port", 0, "--store", store)
    assert said.code == code, said.err
    assert told in said.err
