import io
import shutil
import stat
import subprocess
import tarfile
import zipfile

import pytest

from danlu.core import archives
from danlu.core.archives import extract
from danlu.core.errors import DataError

FILES = {"pack/data/a.txt": b"a", "pack/data/deep/b.txt": b"b", "pack/code.py": b"raise SystemExit"}


def tar_bytes(files, mode="w:gz", change=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change:
                change(info)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def place(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path


def make(place, kind, files=FILES):
    path = place / f"pack.{kind}"
    if kind in ("whl", "zip"):
        with zipfile.ZipFile(path, "w") as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
    else:
        path.write_bytes(tar_bytes(files))
    return path


def found(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["whl", "zip", "tar.gz", "tgz"])
def test_members_land_below_the_patterns_folder(place, kind):
    extract(make(place, kind), ["pack/data/*.txt"], place / "out")
    assert found(place / "out") == {"a.txt": b"a", "deep/b.txt": b"b"}


def test_a_member_of_an_archive_in_the_archive(place):
    inner = tar_bytes({"in/words.txt": b"words", "in/other.txt": b"other"})
    archive = make(place, "tar.gz", {"pack/inner.tar.gz": inner})
    extract(archive, ["pack/inner.tar.gz!in/words.txt"], place / "out")
    assert found(place / "out") == {"words.txt": b"words"}
    assert {p.name for p in place.iterdir()} == {"out", "pack.tar.gz"}


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not on this machine")
def test_a_debian_package(place):
    (place / "tree" / "DEBIAN").mkdir(parents=True)
    (place / "tree" / "DEBIAN" / "control").write_text(
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: tiny\n"
    )
    (place / "tree" / "usr" / "share").mkdir(parents=True)
    (place / "tree" / "usr" / "share" / "words.txt").write_bytes(b"words")
    subprocess.run(["dpkg-deb", "--build", "tree", "tiny.deb"], cwd=place, check=True, capture_output=True)
    extract(place / "tiny.deb", ["usr/share/*.txt"], place / "out")
    assert found(place / "out") == {"words.txt": b"words"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["pack/data/../../evil.txt", "pack/data//evil.txt", "pack/data/a\\b.txt"])
def test_a_path_that_leaves_the_folder_is_refused(place, kind, name):
    with pytest.raises(DataError, match="not a plain path"):
        extract(make(place, kind, {name: b"x"}), ["pack/data/*"], place / "out")
    assert found(place / "out") == {}
    assert not (place / "evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(place, kind):
    def change(info):
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    (place / "pack.tar.gz").write_bytes(tar_bytes({"pack/data/a.txt": b""}, change=change))
    with pytest.raises(DataError, match="link or a device"):
        extract(place / "pack.tar.gz", ["pack/data/*"], place / "out")


def test_a_link_in_a_zip_is_refused(place):
    with zipfile.ZipFile(place / "pack.zip", "w") as zipped:
        info = zipfile.ZipInfo("pack/data/a.txt")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        extract(place / "pack.zip", ["pack/data/*"], place / "out")


def test_more_than_the_limit_is_refused(place, monkeypatch):
    monkeypatch.setattr(archives, "_MOST_BYTES", 1 << 20)
    archive = make(place, "tar.gz", {"pack/data/a": bytes(800_000), "pack/data/b": bytes(800_000)})
    with pytest.raises(DataError, match="unpacks to more"):
        extract(archive, ["pack/data/*"], place / "out")


def test_a_member_that_is_not_there_is_named(place):
    with pytest.raises(DataError, match=r"holds no member pack/model/\*"):
        extract(make(place, "zip"), ["pack/data/*", "pack/model/*"], place / "out")


def test_two_members_with_one_place_are_refused(place):
    with pytest.raises(DataError, match=r"two members would be written to a\.txt"):
        extract(make(place, "zip", {"x/1/a.txt": b"1", "y/a.txt": b"2"}), ["x/1/*", "y/*"], place / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_damaged_archive_is_told(place, kind):
    archive = make(place, kind)
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(DataError, match="damaged"):
        extract(archive, ["pack/data/*"], place / "out")
