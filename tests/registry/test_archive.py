import io
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest

from danlu.core.digests import files_digest
from danlu.core.errors import DanluError, DataError, MachineError, RecipeError
from danlu.core.files import sha256_bytes
from danlu.registry import archive
from danlu.registry.archive import take_in, write
from danlu.registry.lineage import lineage
from danlu.registry.store import Registry
from malicious import MARKER, SETTINGS, TEMPLATES, pickles, weights


@pytest.fixture
def good(registry, model):
    """A published version and its folder."""
    version = registry.publish("reviews", model(), metadata={"recipe": "name: x", "description": "丹"})
    return version, registry.open(version)


@pytest.fixture
def other(tmp_path):
    return Registry(tmp_path / "other")


def members(path):
    with tarfile.open(path) as opened:
        return {one.name: opened.extractfile(one).read() for one in opened}


def pack(path, contents, *, odd=()):
    """A tar.gz of these members, then of `odd`: (TarInfo, bytes)."""
    with tarfile.open(path, "w:gz") as opened:
        for name, data in contents.items():
            told = tarfile.TarInfo(name)
            told.size = len(data)
            opened.addfile(told, io.BytesIO(data))
        for told, data in odd:
            opened.addfile(told, io.BytesIO(data) if data is not None else None)
    return path


def record_of(contents, /, **changes):
    """The record of a version of these files, with true digests."""
    listed = {name: {"sha256": sha256_bytes(data), "size": len(data)} for name, data in contents.items()}
    told = {
        "format": 1, "danlu": "0.1", "name": "evil", "number": 1, "published": "2026-01-01T00:00:00.000+00:00",
        "digest": files_digest({name: one["sha256"] for name, one in listed.items()}), "files": listed,
        "metadata": {}, "manifests": [],
    }  # fmt: skip
    return json.dumps(told | changes).encode()


def honest(path, inside, /, **changes):
    """An archive whose record tells the truth about its files, whatever they are."""
    contents = {"version.json": record_of(inside, **changes), "card.md": b""}
    return pack(path, contents | {f"files/{name}": data for name, data in inside.items()})


def refused(registry, path, match, error=DataError):
    with pytest.raises(error, match=match or r"\S"):
        take_in(registry, path)
    nothing_there(registry)


def nothing_there(registry):
    assert registry.versions() == []
    assert list(registry.blobs.stored()) == []
    assert list((registry.store / "versions").iterdir()) == []


# ---- there and back


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "zip", "folder"])
def test_a_version_arrives_whole(good, other, tmp_path, ending):
    version, folder = good
    path = tmp_path / f"v.{ending.replace('folder', 'zip')}"
    write(version, folder, path)
    if ending == "folder":
        with zipfile.ZipFile(path) as opened:
            opened.extractall(tmp_path / "v")
        path = tmp_path / "v"
    found = take_in(other, path, actor="eve")
    assert (found.reference, found.digest, found.files) == ("reviews@1", version.digest, version.files)
    assert found.metadata["origin"]["reference"] == "reviews@1"
    assert found.metadata["description"] == "丹"
    assert lineage(found)["facts"]["origin"]["digest"] == version.digest
    (entry,) = other.audit()
    assert (entry.actor, entry.action) == ("eve", "publish")
    assert entry.why.startswith(f"imported from {path.name}: reviews@1, published {version.published}")
    other.verify(found)
    other.open(found)


def test_equal_versions_give_equal_bytes(good, tmp_path):
    for ending in ("tar.gz", "zip"):
        for name in ("a", "b"):
            write(*good, tmp_path / f"{name}.{ending}")
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_it_gets_the_next_number_and_another_name(good, other, publish, model, tmp_path):
    write(*good, tmp_path / "v.zip")
    other.publish("mine", model("else"), metadata={})
    assert take_in(other, tmp_path / "v.zip", name="mine").reference == "mine@2"
    again = take_in(other, tmp_path / "v.zip", name="mine")
    assert (again.reference, again.created) == ("mine@2", False)
    assert other.aliases("mine") == {}


def test_what_is_there_is_not_overwritten(good, tmp_path):
    target = tmp_path / "v.zip"
    target.write_text("mine")
    with pytest.raises(RecipeError, match="nothing is overwritten"):
        write(*good, target)
    with pytest.raises(RecipeError, match=r"an archive ends in .tar.gz or .zip"):
        write(*good, tmp_path / "v.rar")
    assert [path.name for path in tmp_path.glob("v*")] == ["v.zip"]
    assert target.read_text() == "mine"


def test_no_archive_and_bad_names(other, good, tmp_path):
    write(*good, tmp_path / "v.zip")
    with pytest.raises(RecipeError, match="there is no such archive"):
        take_in(other, tmp_path / "w.zip")
    with pytest.raises(RecipeError, match="is not a valid model name"):
        take_in(other, tmp_path / "v.zip", name="../x")
    (tmp_path / "x.rar").touch()
    with pytest.raises(RecipeError, match=r"neither a .tar.gz"):
        take_in(other, tmp_path / "x.rar")


# ---- what is refused


def odd(name, kind, link=""):
    told = tarfile.TarInfo(name)
    told.type, told.linkname = kind, link
    return told, None


@pytest.mark.parametrize(
    ("member", "match"),
    [
        (odd("files/a.json", tarfile.SYMTYPE, "/etc/passwd"), "no plain file"),
        (odd("files/a.json", tarfile.LNKTYPE, "version.json"), "no plain file"),
        (odd("files/a.json", tarfile.CHRTYPE), "no plain file"),
        (odd("files/a.json", tarfile.FIFOTYPE), "no plain file"),
        (odd("files/a.json", tarfile.CONTTYPE), "no plain file"),
        (odd("../a.json", tarfile.REGTYPE), "not among the files"),
        (odd("/a.json", tarfile.REGTYPE), "not among the files"),
        (odd("files/../../a.json", tarfile.REGTYPE), "not among the files"),
        (odd("files/rows.csv", tarfile.REGTYPE), "stands in it twice"),
    ],
)
def test_odd_members(good, other, tmp_path, member, match):
    write(*good, tmp_path / "v.tar.gz")
    refused(other, pack(tmp_path / "bad.tar.gz", members(tmp_path / "v.tar.gz"), odd=[member]), match)
    assert not (tmp_path / "a.json").exists()


def test_a_link_in_a_zip(good, other, tmp_path):
    write(*good, tmp_path / "v.zip")
    with zipfile.ZipFile(tmp_path / "v.zip", "a") as opened:
        told = zipfile.ZipInfo("files/link.json")
        told.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(told, "/etc/passwd")
    refused(other, tmp_path / "v.zip", "is no plain file")


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
def test_a_link_or_a_device_in_a_folder(good, other, tmp_path, make):
    write(*good, tmp_path / "v.zip")
    with zipfile.ZipFile(tmp_path / "v.zip") as opened:
        opened.extractall(tmp_path / "v")
    make(tmp_path / "v/files/odd.json")
    refused(other, tmp_path / "v", "a link or a device")


def test_names_that_leave_the_folder_though_the_record_lists_them(other, tmp_path):
    for name in ("../a.json", "/tmp/a.json", "a/../../b.json", "a\\b.json", "a\0.json", "a//b.json", "./a.json", ".."):
        path = tmp_path / "bad.tar.gz"
        try:
            honest(path, {name: b"{}"})
        except ValueError:
            continue
        refused(other, path, "not a plain path|is missing|not among the files")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz", "other"]


def test_changed_cut_and_missing(good, other, tmp_path):
    write(*good, tmp_path / "v.tar.gz")
    whole = members(tmp_path / "v.tar.gz")
    bad = tmp_path / "bad.tar.gz"
    refused(other, pack(bad, whole | {"files/rows.csv": whole["files/rows.csv"][:-1] + b"x"}), "another SHA-256")
    refused(other, pack(bad, whole | {"files/rows.csv": whole["files/rows.csv"] + b"x"}), "longer than it says")
    refused(other, pack(bad, {k: v for k, v in whole.items() if k != "files/rows.csv"}), "rows.csv is missing")
    refused(other, pack(bad, dict(reversed(whole.items()))), r"and not version.json")
    refused(other, pack(bad, {}), r"there is no version.json")
    for length in range(40, (tmp_path / "v.tar.gz").stat().st_size - 40, 311):
        bad.write_bytes((tmp_path / "v.tar.gz").read_bytes()[:length])
        refused(other, bad, "")


def test_flipped_bytes(good, other, tmp_path):
    """Of any bit flipped in an archive: refused, or the version is the same to the last byte."""
    version, folder = good
    chance = random.Random(0)
    for ending in ("tar.gz", "zip"):
        write(version, folder, tmp_path / f"v.{ending}")
        data = (tmp_path / f"v.{ending}").read_bytes()
        bad = tmp_path / f"bad.{ending}"
        for _ in range(60):
            flipped = bytearray(data)
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            bad.write_bytes(flipped)
            registry = Registry(tmp_path / "flips")
            try:
                found = take_in(registry, bad)
            except DanluError:
                assert registry.versions() == []
            else:
                assert found.digest == version.digest
            shutil.rmtree(registry.store)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2}, {"format": "1"}, {"name": 3}, {"number": 0}, {"digest": "x"}, {"digest": "0" * 64}, {"files": {}},
        {"metadata": []}, {"manifests": [{}]}, {"manifests": [{"key": 1}] * 300}, {"extra": 1}, {"published": "<script>"},
        {"metadata": {"forms": "none"}}, {"metadata": {"data": {"splits": {"train": 3}}}}, {"name": "../../evil"},
        {"manifests": [{"key": "a", "digest": "b", "kind": "model", "step": "s", "inputs": {"x": 1}}]},
    ],
)  # fmt: skip
def test_a_record_that_is_not_one(other, tmp_path, changes):
    path = honest(tmp_path / "bad.tar.gz", {"a.json": b"{}"}, **changes)
    refused(other, path, "", DanluError)


def test_bombs(other, tmp_path, monkeypatch):
    zeros = b" " * (40 << 20)
    refused(other, honest(tmp_path / "bad.tar.gz", {"a.txt": zeros}), "can't honestly hold")
    told = {"a.txt": {"sha256": "0" * 64, "size": 1 << 60}}
    digest = files_digest({"a.txt": "0" * 64})
    refused(other, honest(tmp_path / "bad.tar.gz", {"a.txt": b"x"}, files=told, digest=digest), "can't honestly hold")
    record = b" " * (70 << 20)
    refused(other, pack(tmp_path / "bad.tar.gz", {"version.json": record}), "longer than it says")
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "raw.tar").write_bytes(header.tobuf() + b"\0" * 10240)
    subprocess.run(["gzip", "-k", "-S", ".gz", str(tmp_path / "raw.tar")], check=True)
    refused(other, tmp_path / "raw.tar.gz", "a header in it says")
    monkeypatch.setattr(archive, "disk_free", lambda _: 10)
    refused(other, honest(tmp_path / "bad.tar.gz", {"a.txt": b"x" * 100}), "more than is free", MachineError)


# ---- models that attack (S5)


def test_no_pickle_gets_in_under_any_name(other, tmp_path, watched):
    samples = pickles()
    assert len(samples) >= 60
    names = ("model.pt", "pytorch_model.bin", "model.safetensors", "config.json", "vocab.txt", "model.onnx")
    with watched(tmp_path):
        for k, data in enumerate(samples.values()):
            for name in (names[k % len(names)], names[2 + k % 4]):
                refused(other, honest(tmp_path / "bad.tar.gz", {name: data}), "")


def test_no_bad_weight_setting_or_template_gets_in(other, tmp_path, watched):
    cases = [{"model.safetensors": data} for data in weights().values()]
    cases += [{"config.json": json.dumps(told).encode()} for told in SETTINGS]
    cases += [{"chat_template.jinja": text.encode()} for text in TEMPLATES]
    cases += [{"tokenizer_config.json": json.dumps({"chat_template": text}).encode()} for text in TEMPLATES]
    cases += [
        {"tokenizer_config.json": json.dumps({"chat_template": [{"name": "a", "template": text}]}).encode()}
        for text in TEMPLATES
    ]
    cases += [{"model.onnx": data} for data in (bad_graph("external"), bad_graph("nan"))]
    with watched(tmp_path):
        for files in cases:
            refused(other, honest(tmp_path / "bad.tar.gz", files), "")


def bad_graph(how):
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], struct.pack("2f", 1, float("nan")), raw=True)
    if how == "external":
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="../../../etc/passwd")
    arrays = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    return onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", arrays[:1], arrays[1:], [weight])
    ).SerializeToString()


@pytest.fixture
def watched(monkeypatch):
    """A block in which nothing may run, connect, or be opened for writing outside a folder; then no marker is there."""
    seen, active = [], []

    def hook(event, arguments):
        if not active:
            return
        if event in (
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "subprocess.Popen",
            "socket.connect",
            "pickle.find_class",
        ):
            seen.append((event, arguments))
        if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
            writing = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writing and not str(Path(arguments[0]).absolute()).startswith(active[0]):
                seen.append((event, arguments))

    sys.addaudithook(hook)

    @contextmanager
    def watched(folder):
        active.append(str(folder))
        try:
            yield seen
        finally:
            active.clear()
        assert seen == []
        assert not Path(MARKER).exists()

    return watched


def test_the_watch_sees_what_it_watches_for(tmp_path, watched):
    with pytest.raises(AssertionError), watched(tmp_path / "inside"):
        (tmp_path / "outside").write_text("x")


def test_a_planted_scanner_that_lets_a_clean_scan_in_is_seen(other, tmp_path, monkeypatch):
    """Were formats judged by a look for bad words, the disguised pickles would get in."""
    monkeypatch.setattr("danlu.registry.content.check_format", lambda path, name: b"os\nsystem" in path.read_bytes())
    monkeypatch.setattr(archive, "check_model", lambda folder, names: None)
    got_in = 0
    for data in pickles().values():
        try:
            take_in(other, honest(tmp_path / "bad.tar.gz", {"model.bin": data}))
            got_in += 1
        except DataError:
            pass
    assert got_in > 60


def test_a_killed_import_leaves_nothing_that_clean_does_not_remove(good, tmp_path):
    write(*good, tmp_path / "v.tar.gz")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom danlu.registry import archive\nfrom danlu.registry.store import Registry\n"
        "real = archive.check_model\n"
        "archive.check_model = lambda *a: (real(*a), os.kill(os.getpid(), 9))\n"
        "archive.take_in(Registry(Path(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    store = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", code, str(store), str(tmp_path / "v.tar.gz")], check=False)
    assert done.returncode == -9
    registry = Registry(store)
    assert registry.versions() == []
    assert len(list((store / "versions").iterdir())) == 1
    assert take_in(registry, tmp_path / "v.tar.gz").reference == "reviews@1"
    registry.clean()
    assert list((store / "versions").glob(".tmp-*")) == []
