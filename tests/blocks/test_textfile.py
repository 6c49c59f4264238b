import resource

import pytest

from danlu.blocks import textfile
from danlu.blocks.textfile import LONGEST_LINE, scan
from danlu.core.errors import DataError, RecipeError

FRENCH = "Le café était très agréable, mais le dîner a été servi froid.\n"
CHINESE = "这家酒店的服务很好，房间也干净，下次还会再来。\n价格有点贵，但是值得。\n手机屏幕坏了，客服态度很差。\n"
RUSSIAN = "Это очень хороший фильм, мне понравилось.\n"
JAPANESE = "このホテルはとても良かったです。また来たいと思います。\n"


@pytest.fixture
def write(tmp_path):
    def write(content, encoding="utf-8"):
        path = tmp_path / "file.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("plain\n", "ascii", "utf-8"),
        (FRENCH + CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8-sig"),
        (CHINESE, "utf-16", "utf-16"),
        (CHINESE, "utf-32", "utf-32"),
        ("one cliché\n", "latin-1", "cp1252"),
        (FRENCH, "latin-1", "cp1252"),
        ("the café \x81 x\n", "latin-1", "latin-1"),
        (CHINESE * 10, "gb18030", "gb18030"),
        (RUSSIAN * 10, "cp1251", "cp1251"),
        (JAPANESE * 10, "shift_jis", "shift_jis"),
    ],
)
def test_the_encoding_is_found(write, text, encoding, found):
    path = write(text, encoding)
    result = scan(path)
    assert result.encoding == found
    assert path.read_text(found) == text
    guessed = found not in ("utf-8", "utf-8-sig", "utf-16", "utf-32")
    assert bool(result.notes) == guessed
    assert not guessed or f"read as {found}, a guess" in result.notes[0]


def test_the_first_odd_byte_may_come_late(write):
    path = write(b"plain text\n" * 300_000 + "un cliché\n".encode("cp1252"))
    assert scan(path).encoding == "cp1252"


def test_a_character_on_the_edge_of_a_chunk(write, monkeypatch):
    monkeypatch.setattr(textfile, "_CHUNK", 7)
    assert scan(write(CHINESE)).encoding == "utf-8"


def test_a_wrong_encoding_names_the_line(write):
    with pytest.raises(DataError, match=r"file\.csv, line 3: the bytes e9 0a are not utf-8"):
        scan(write("a\nb\nclich\xe9\n", "latin-1"), "utf-8")
    with pytest.raises(RecipeError, match="no encoding 'klingon'"):
        scan(write("a"), "klingon")


def test_nul_bytes_name_the_line(write):
    with pytest.raises(DataError, match=r"line 3: it holds NUL bytes\n.*utf-16-le"):
        scan(write(b"a\nb\nx\0y\n"))


@pytest.mark.parametrize("content", [b"", b"\n\r\n \t\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_an_empty_file(write, content):
    with pytest.raises(DataError, match="the file is empty"):
        scan(write(content))


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match=r"no such file\n.*check the path"):
        scan(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="it is a folder"):
        scan(tmp_path)
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="not a regular file"):
        scan(tmp_path / "zero.csv")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_longest_line_is_measured(write, newline):
    long = "x" * 3_000_000
    found = scan(write(newline.join(["a", long, "b"])))
    assert 3_000_000 <= found.longest_line <= 3_000_000 + 2 * textfile._CHUNK


def test_one_line_of_two_gigabytes_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n1,2\n")
        file.write(b"x" * (LONGEST_LINE + (2 << 20)))
        file.truncate(2 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"after line 2: a line has more than 16 million characters"):
        scan(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_many_lines_are_no_long_line(write):
    assert scan(write(b"0123456789,x\n" * 2_000_000)).longest_line <= 2 * textfile._CHUNK
