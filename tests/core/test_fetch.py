import hashlib
import io
import os
import stat
import sys
import tarfile
import zipfile

import pytest

from danlu.core import fetch
from danlu.core.errors import DataError, MachineError
from danlu.core.fetch import Package, download

METADATA = "Metadata-Version: 2.1\nName: tinypack\nVersion: 1.0\nRequires-Python: <3\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(folder, text="hello"):
    path = folder / "tinypack-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("tinypack/words.txt", text)
        zipped.writestr("tinypack-1.0.dist-info/METADATA", METADATA)
        zipped.writestr("tinypack-1.0.dist-info/WHEEL", WHEEL)
        zipped.writestr("tinypack-1.0.dist-info/RECORD", "")
    return path


def package(client="pip", sha256="0" * 64, **given):
    fields = {
        "package": "tinypack",
        "version": "1.0",
        "size_mb": 0.1,
        "members": ("*",),
        "file": "tinypack-1.0-py3-none-any.whl",
    }
    return Package(client=client, sha256=sha256, **{**fields, **given})


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that is pip's only package index."""
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def fake_client(tmp_path, monkeypatch, name, script):
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_pip_fetches_the_pinned_file_though_it_could_not_be_installed(tmp_path, shelf):
    wheel = make_wheel(shelf)
    told = []
    got = download(package(sha256=sha256(wheel)), tmp_path / "work", lambda done, total: told.append((done, total)))
    assert got.read_bytes() == wheel.read_bytes()
    assert got.is_relative_to(tmp_path / "work")
    assert told
    assert all(0 <= done <= total == 100_000 for done, total in told)


def test_pip_refuses_another_file(tmp_path, shelf):
    make_wheel(shelf, "evil")
    with pytest.raises(DataError, match="another SHA-256"):
        download(package(), tmp_path / "work")
    assert not list(tmp_path.glob("work/**/*.whl"))


def test_a_source_release_is_built_only_after_its_hash_matched(tmp_path, shelf):
    script = f"open({str(tmp_path / 'built')!r}, 'w')".encode()
    with tarfile.open(shelf / "tinypack-1.0.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("tinypack-1.0/setup.py")
        info.size = len(script)
        tar.addfile(info, io.BytesIO(script))
    with pytest.raises(DataError, match="another SHA-256"):
        download(package(file="tinypack-1.0.tar.gz"), tmp_path / "work")
    assert not (tmp_path / "built").exists()


def test_a_package_that_is_not_there(tmp_path, shelf):
    with pytest.raises(MachineError, match=r"tinypack 1\.0.*could not fetch it: ERROR: .*\n.*check the network"):
        download(package(), tmp_path / "work")


def test_no_network(tmp_path, shelf, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(MachineError, match="check the network"):
        download(package(), tmp_path / "work")


def test_no_pip(tmp_path, shelf, monkeypatch):
    fake_client(tmp_path, monkeypatch, "python", "raise SystemExit('/usr/bin/python: No module named pip')")
    monkeypatch.setattr(fetch.sys, "executable", str(tmp_path / "bin" / "python"))
    with pytest.raises(MachineError, match=r"pip is not installed\n.*-m ensurepip"):
        download(package(), tmp_path / "work")


def test_pip_is_asked_for_a_wheel_of_another_python():
    wheel = "tinypack-1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
    options = fetch._form(package(file=wheel))
    assert options[2:] == [
        "--python-version=311",
        "--implementation=cp",
        "--abi=cp311",
        "--platform=manylinux2014_x86_64",
        "--platform=manylinux_2_17_x86_64",
    ]


def test_npm_runs_no_scripts_and_its_file_is_checked(tmp_path, monkeypatch):
    fake_client(tmp_path, monkeypatch, "npm", "import sys; open('tinypack-1.0.tgz', 'w').write(' '.join(sys.argv[1:]))")
    said = "pack --ignore-scripts --loglevel=error tinypack@1.0"
    good = package("npm", hashlib.sha256(said.encode()).hexdigest())
    assert download(good, tmp_path / "one").read_text() == said
    with pytest.raises(DataError, match=r"that npm fetched has another SHA-256.*nothing was kept"):
        download(package("npm"), tmp_path / "two")
    assert not list((tmp_path / "two" / "package").iterdir())


def test_apt_is_told_the_exact_version(tmp_path, monkeypatch):
    fake_client(tmp_path, monkeypatch, "apt-get", "import sys; open('t.deb', 'w').write(' '.join(sys.argv[1:]))")
    said = "download -q tinypack=4:1.0-1"
    got = download(package("apt", hashlib.sha256(said.encode()).hexdigest(), version="4:1.0-1"), tmp_path / "work")
    assert got.read_text() == said


def test_a_client_that_fails_is_quoted(tmp_path, monkeypatch):
    fake_client(
        tmp_path, monkeypatch, "apt-get", "print('Reading...'); raise SystemExit('E: Version 1.0 was not found')"
    )
    with pytest.raises(MachineError, match=r"E: Version 1\.0 was not found\n.*apt-get update"):
        download(package("apt"), tmp_path / "work")


def test_a_client_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"npm is not on this machine\n.*Node\.js"):
        download(package("npm"), tmp_path / "work")


def test_a_client_that_leaves_nothing(tmp_path, monkeypatch):
    fake_client(tmp_path, monkeypatch, "npm", "pass")
    with pytest.raises(MachineError, match="left 0 files"):
        download(package("npm"), tmp_path / "work")
