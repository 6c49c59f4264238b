"""Files behind URLs are copied a few at once, in their order, and nothing is left of them."""

import http.server
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from danlu.blocks import media_source, places, remote
from danlu.blocks.pixels import encode_picture
from danlu.blocks.remote import AHEAD, Fetching
from danlu.blocks.unpack import Limits
from danlu.core.errors import DataError
from danlu.plugins.sources.csv import CSV
from danlu.plugins.sources.image_folder import ImageFolder

FILES = 3 * AHEAD
WAIT = 20  # seconds until a test fails whose files are not asked for together


class Server(http.server.ThreadingHTTPServer):
    """Answers no file before `AHEAD` of them are asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.together = threading.Barrier(AHEAD)
        self.asked = []
        self.begun = threading.Semaphore(0)
        self.held = None  # files of this number and beyond are held until `free`
        self.free = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        number = int(self.path.strip("/").partition(".")[0])
        self.server.asked.append(number)
        if self.server.held is None:
            self.server.together.wait(WAIT)
        if number == 2 and self.path.endswith(".gone"):
            self.send_error(404)
            return
        content = content_of(number)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:10])
        self.wfile.flush()
        if self.server.held is not None and number >= self.server.held:
            self.server.begun.release()
            self.server.free.wait(WAIT)
        self.wfile.write(content[10:])


def content_of(number):
    return encode_picture(np.full((4, 4), 10 * number, np.uint8))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "cache_dir", lambda: tmp_path / "cache")
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.free.set()
    made.shutdown()
    made.server_close()
    left = tmp_path / "cache" / "reading"
    assert not left.exists() or list(left.iterdir()) == []


@pytest.fixture
def files(server):
    def of(ending="png"):
        url = f"http://127.0.0.1:{server.server_port}"
        return [remote.find(f"{url}/{number}.{ending}", lambda _: True)[0] for number in range(FILES)]

    return of


@pytest.fixture
def pictures(files, monkeypatch):
    """A folder of pictures, as a server that can tell what it has would show it."""
    found = [replace(one, name=f"cats/{one.name.zfill(6)}") for one in files()]
    monkeypatch.setattr(remote, "find", lambda url, wanted: found)
    return ImageFolder(path="s3://pets")


def test_pictures_are_asked_for_together_and_come_in_their_order(pictures, server):
    cells = [cell for batch in pictures.rows() for cell in batch.column("image").to_pylist()]
    assert [cell["bytes"] for cell in cells] == [content_of(number) for number in range(FILES)]
    assert sorted(server.asked) == list(range(FILES))


def test_files_of_tables_are_asked_for_together(files, server, monkeypatch):
    found = [replace(one, name=f"{number:02}.csv") for number, one in enumerate(files())]
    monkeypatch.setattr(remote, "find", lambda url, wanted: found)
    assert CSV(path="s3://tables").splits() == ()
    with places.opened("s3://tables", (".csv",), Limits(10**9, 10)) as copies:
        assert [one.path.name for one in copies] == [f"{number:02}.csv" for number in range(FILES)]
        assert [one.path.read_bytes() for one in copies] == [content_of(number) for number in range(FILES)]


def test_an_error_comes_when_its_file_is_taken_and_the_next_can_be(files, tmp_path):
    with Fetching(files("gone"), tmp_path, 10**6) as fetching:
        assert [fetching.take().read_bytes() for _ in range(2)] == [content_of(0), content_of(1)]
        with pytest.raises(DataError, match=r"2\.gone: the server says 404"):
            fetching.take()
        assert [fetching.take().read_bytes() for _ in range(3, FILES)] == [content_of(k) for k in range(3, FILES)]


def test_no_more_are_copied_than_were_asked_for(files, server, tmp_path):
    with Fetching(files(), tmp_path, 10**6) as fetching:
        fetching.take()
    assert sorted(server.asked) == list(range(AHEAD))


def test_what_is_on_its_way_is_dropped_by_who_leaves(files, server, tmp_path):
    server.held = 1
    fetching = Fetching(files(), tmp_path, 10**6)
    assert fetching.take().read_bytes() == content_of(0)
    for _ in range(AHEAD - 1):
        assert server.begun.acquire(timeout=WAIT)
    leaving = threading.Thread(target=fetching.__exit__)
    leaving.start()
    assert fetching._stopped.wait(WAIT)
    server.free.set()
    leaving.join(WAIT)
    assert [path.stat().st_size for path in sorted(tmp_path.glob("[1-9]*"))] == [0] * (AHEAD - 1)
    assert sorted(server.asked) == list(range(AHEAD))


def test_who_stops_early_leaves_nothing_behind(pictures, server, monkeypatch):
    monkeypatch.setattr(media_source, "_ROWS", 1)
    rows = pictures.rows()
    assert next(rows).num_rows == 1
    until = time.monotonic() + WAIT
    while len(list(places.cache_dir().glob("reading/*/*"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)  # the next is asked for, and may not lie on the disk yet
    assert len(list(places.cache_dir().glob("reading/*/*"))) > 1
    rows.close()  # the fixture looks at what is left
    assert sorted(server.asked) == list(range(AHEAD))


def test_clients_that_take_one_at_a_time_are_asked_for_one_at_a_time(files, server, tmp_path):
    server.held = FILES
    alone = [replace(one, together=False) for one in files()]
    with Fetching(alone, tmp_path, 10**6) as fetching:
        for number in range(3):
            assert fetching.take().read_bytes() == content_of(number)
            assert server.asked == list(range(number + 1))
