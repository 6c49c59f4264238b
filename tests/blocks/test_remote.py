"""Files behind URLs: a server of this test's own for HTTP, moto's for S3, fsspec's memory."""

import gzip
import http.server
import io
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import wave
from importlib.util import find_spec

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danlu.blocks import media_source, places
from danlu.blocks.pixels import encode_picture
from danlu.core.errors import DataError, Fault, MachineError, RecipeError
from danlu.core.resolve import resolve
from danlu.plugins.sources.audio_folder import AudioFolder
from danlu.plugins.sources.csv import CSV
from danlu.plugins.sources.image_folder import ImageFolder
from danlu.plugins.sources.parquet import Parquet

ROWS = "text,label\nwarm,good\ncold,bad\n"


def texts(source):
    return [row["text"] for batch in source.rows() for row in batch.to_pylist()]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "cache_dir", lambda: tmp_path / "cache")
    yield
    left = tmp_path / "cache" / "reading"
    assert not left.exists() or list(left.iterdir()) == []


# ---- HTTP ------------------------------------------------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    cut = 0
    plain = False

    def log_message(self, *_):
        pass

    def send_header(self, name, value):
        if not (self.plain and name == "Last-Modified"):
            super().send_header(name, value)

    def copyfile(self, source, outputfile):
        outputfile.write(source.read()[: -self.cut or None])


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder and the URL it is served at."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "my.csv").write_text(ROWS)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Handler(*given, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(Handler, "cut", 0)
    monkeypatch.setattr(Handler, "plain", False)
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_behind_http(web):
    folder, url = web
    source = CSV(path=f"{url}/my.csv?token=secret")
    assert texts(source) == ["warm", "cold"]
    assert source.origin(1) == f"{url}/my.csv, line 3"
    (folder / "my.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    assert texts(CSV(path=f"{url}/my.csv.gz")) == ["warm", "cold"]
    pq.write_table(pa.table({"text": ["far"]}), folder / "my.parquet")
    assert texts(Parquet(path=f"{url}/my.parquet")) == ["far"]


@pytest.mark.parametrize("plain", [False, True])
def test_a_change_behind_http_is_noticed_by_time_or_content(web, plain, monkeypatch):
    folder, url = web
    monkeypatch.setattr(Handler, "plain", plain)
    source = CSV(path=f"{url}/my.csv")
    before = source.fingerprint()
    assert source.fingerprint() == before
    (folder / "my.csv").write_text(ROWS.replace("warm", "hot") if plain else ROWS + "mild,good\n")
    assert source.fingerprint() != before


def test_what_goes_wrong_behind_http(web, monkeypatch):
    _, url = web
    with pytest.raises(DataError, match=r"no\.csv: the server says 404"):
        texts(CSV(path=f"{url}/no.csv"))
    with pytest.raises(MachineError, match="Connection refused") as fault:
        texts(CSV(path="http://127.0.0.1:9/my.csv?key=secret"))
    assert "secret" not in str(fault.value)
    with pytest.raises(RecipeError, match="a URL with a password") as fault:
        texts(CSV(path="https://me:secret@127.0.0.1:9/my.csv"))
    assert "secret" not in str(fault.value)
    with pytest.raises(DataError, match=r"it has more than 1e-08 GB(.|\n)*unpacked_gb"):
        texts(CSV(path=f"{url}/my.csv", unpacked_gb=1e-8))
    monkeypatch.setattr(Handler, "cut", 5)
    with pytest.raises(MachineError, match="the connection broke off"):
        texts(CSV(path=f"{url}/my.csv"))


# ---- memory, and any other file system of fsspec -----------------------------------------------------------------


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.pipe({"/box/b.csv": b"text\nb\n", "/box/a.csv": b"text\na\n", "/box/.c.csv": b"", "/box/d.txt": b""})
    yield system
    system.rm("/box", recursive=True)


def test_a_folder_and_a_pattern_elsewhere(memory):
    folder = CSV(path="memory://box")
    assert texts(folder) == ["a", "b"]
    assert texts(CSV(path="memory://box/b*")) == ["b"]
    assert texts(CSV(path="memory://box/a.csv")) == ["a"]
    assert folder.origin(1) == "memory:///box/b.csv, line 2"
    before = folder.fingerprint()
    memory.pipe("/box/b.csv", b"text\nc\n")
    assert folder.fingerprint() != before
    with pytest.raises(DataError, match=r"memory://box/no: there is no such file, and none below it"):
        texts(CSV(path="memory://box/no"))


def test_a_kind_of_url_that_nobody_knows():
    with pytest.raises(MachineError, match="Protocol not known: nowhere"):
        texts(CSV(path="nowhere://box/a.csv"))


def test_a_recipe_keeps_a_url_as_it_stands_and_notices_a_change_behind_it(memory):
    faults: list[Fault] = []
    choice = resolve("sources", {"csv": "memory://box"}, "source", faults)
    assert faults == []
    assert choice.settings["path"] == "memory://box"
    before = choice.identity()
    assert choice.identity() == before
    memory.pipe("/box/b.csv", b"text\nc\n")
    assert choice.identity() != before


# ---- S3 --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endpoint():
    if find_spec("moto") is None:
        pytest.skip("moto, which plays S3, is not here: pip install 'moto[s3]' flask flask-cors")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/")
            break
        except OSError:
            assert server.poll() is None, "moto's server did not start"
            time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    server.terminate()
    server.wait(30)


@pytest.fixture
def bucket(endpoint, monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{endpoint}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)

    signed = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"

    def put(place, content=b""):
        url = f"http://{endpoint}/{place}"
        urllib.request.urlopen(
            urllib.request.Request(url, content, {"Content-Type": "", "Authorization": signed}, method="PUT")
        )

    put("box")
    put("box/train/b.csv", b"text\nb\n")
    put("box/train/a.csv.gz", gzip.compress(b"text\na\n"))
    return put


def test_s3(bucket, endpoint):
    folder = CSV(path="s3://box/train")
    assert texts(folder) == ["a", "b"]
    assert texts(CSV(path="s3://box/train/*.csv")) == ["b"]
    assert texts(CSV(path="s3://box/train/a.csv.gz")) == ["a"]
    assert texts(CSV(path=f"s3://box/train/b.csv?endpoint_override={endpoint}&scheme=http&region=us-east-1")) == ["b"]
    assert folder.origin(1) == "s3://box/train/b.csv, line 2"
    before = folder.fingerprint()
    assert folder.fingerprint() == before
    bucket("box/train/b.csv", b"text\nbetter\n")
    assert folder.fingerprint() != before
    for missing in ("s3://box/no.csv", "s3://no-such-bucket/a.csv"):
        with pytest.raises((DataError, MachineError), match="s3://"):
            texts(CSV(path=missing))


def test_s3_parquet(bucket):
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["far", "away"]}), out)
    bucket("box/rows.parquet", out.getvalue().to_pybytes())
    assert texts(Parquet(path="s3://box/rows.parquet")) == ["far", "away"]


# ---- folders of pictures and of sounds -------------------------------------------------------------------------------


def picture(shade):
    return encode_picture(np.full((4, 4), shade, np.uint8))


def sound(frames):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * frames))
    return out.getvalue()


def labelled(source):
    return [(row["file"], row["label"]) for batch in source.rows() for row in batch.to_pylist()]


def test_pictures_on_s3(bucket, endpoint, tmp_path):
    bucket("pets")
    for name, shade in {"train/cats/1.png": 10, "train/dogs/2.png": 20, "test/cats/3.png": 30}.items():
        bucket(f"pets/{name}", picture(shade))
    folder = ImageFolder(path=f"s3://pets?endpoint_override={endpoint}&scheme=http&region=us-east-1")
    assert folder.splits() == ("train", "test")
    assert labelled(folder) == [("test/cats/3.png", "cats"), ("train/cats/1.png", "cats"), ("train/dogs/2.png", "dogs")]
    (batch,) = folder.rows("train")
    assert [cell["bytes"] for cell in batch.column("image").to_pylist()] == [picture(10), picture(20)]
    assert folder.origin(1, "train") == "s3://pets/train/dogs/2.png"
    table = tmp_path / "labels.csv"
    table.write_text("file,label\ndogs/2.png,wolf\n")
    assert labelled(ImageFolder(path="s3://pets/train", labels=str(table))) == [("dogs/2.png", "wolf")]
    states = [folder.fingerprint(), folder.fingerprint()]
    assert states[0] == states[1]
    for shade in range(21, 27):  # of one size, and mostly in one second
        bucket("pets/train/dogs/2.png", picture(shade))
        states.append(folder.fingerprint())
    assert len(set(states)) == 7


@pytest.fixture
def sounds():
    system = fsspec.filesystem("memory")
    system.pipe({"/sounds/no/a.wav": sound(800), "/sounds/yes/b.wav": sound(4000), "/sounds/yes/.c.wav": b""})
    yield system
    system.rm("/sounds", recursive=True)


def test_sounds_elsewhere_and_broken_ones(sounds):
    folder = AudioFolder(path="memory://sounds")
    (batch,) = folder.rows()
    assert batch.column("seconds").to_pylist() == [0.1, 0.5]
    assert labelled(folder) == [("no/a.wav", "no"), ("yes/b.wav", "yes")]
    sounds.pipe("/sounds/yes/c.wav", sound(0))
    with pytest.raises(DataError, match=r"^memory://sounds/yes/c\.wav: the sound lasts no time"):
        labelled(folder)
    assert len(labelled(AudioFolder(path="memory://sounds", on_error="skip", most_skipped=0.4))) == 2
    sounds.pipe("/sounds/notes.txt", b"")
    with pytest.raises(DataError, match="1 file is no sound"):
        labelled(AudioFolder(path="memory://sounds", others="refuse"))


def test_folders_that_are_none(sounds, monkeypatch):
    with pytest.raises(DataError, match="a web server does not tell what is in a folder"):
        labelled(ImageFolder(path="https://example.org/pictures"))
    with pytest.raises(DataError, match=r"memory://no: there is no such file, and none below it"):
        labelled(AudioFolder(path="memory://no"))
    monkeypatch.setattr(media_source, "_MOST", 1000)
    with pytest.raises(DataError, match=r"memory://sounds/no/a\.wav: it has more than 1e-06 GB"):
        labelled(AudioFolder(path="memory://sounds"))


def test_a_recipe_keeps_the_url_of_a_folder_and_notices_a_change_behind_it(sounds):
    faults: list[Fault] = []
    choice = resolve("sources", {"audio_folder": "memory://sounds"}, "source", faults)
    assert (faults, choice.settings["path"]) == ([], "memory://sounds")
    before = choice.identity()
    assert choice.identity() == before
    sounds.pipe("/sounds/no/a.wav", sound(801))
    assert choice.identity() != before
