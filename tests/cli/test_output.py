import json

import pytest
from rich.cells import cell_len

from danlu.cli import output

EVIL = "[bold]\x1b[2J\x1b]0;title\x07 \u202e \r [/nothing] \ud83d"


@pytest.fixture
def width(monkeypatch):
    return lambda columns: monkeypatch.setattr(output.console, "_width", columns)


def test_data_steers_nothing(capsys):
    output.say(EVIL)
    output.note(EVIL)
    output.facts({EVIL: EVIL})
    output.table([EVIL, "b"], [(EVIL, EVIL)], title=EVIL)
    captured = capsys.readouterr()
    shown = r"[bold]\x1b[2J\x1b]0;title\x07 \u202e \r [/nothing] \ud83d"
    for printed in (captured.out, captured.err):
        assert shown in printed
        assert not set(printed) & set("\x1b\x07\u202e\r\ud83d")


def test_json_holds_the_data_and_steers_nothing(capsys):
    output.print_json({"text": EVIL + "\x9b", EVIL: [float("nan"), float("inf"), {1, 2}], "path": output.Path("a")})
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": EVIL + "\x9b", EVIL: [None, None, [1, 2]], "path": "a"}
    assert not set(out) & set("\x1b\x07\u202e\r\ud83d\x9b")


def test_a_table_lines_up_and_ends_no_line_in_spaces(capsys):
    output.table(["name", "MB", "what"], [("丹炉", "1.5", "one"), ("x", "12.5", "two")], right=["MB"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name    MB  what", "丹炉   1.5  one", "x     12.5  two"]


def test_the_last_column_is_folded(capsys, width):
    width(40)
    output.table(["name", "what"], [("x", "many words " * 10)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert all(len(line) <= 40 for line in lines)
    assert all(line.startswith("      ") for line in lines[2:])


def test_where_a_table_does_not_fit_each_row_is_a_paragraph(capsys, width):
    width(50)
    output.table(["name", "alias", "what"], [("a" * 30, "b" * 20, "word " * 20), ("short", "", "one")])
    assert capsys.readouterr().out.splitlines() == [
        "a" * 30, f"  alias  {'b' * 20}", f"  what   {'word ' * 20}".rstrip() + " ", "short", "  what   one",
    ]  # fmt: skip


def test_wide_characters_count_twice(capsys, width):
    width(60)
    output.table(["a", "b"], [("字" * 20, "字" * 10)])
    lines = capsys.readouterr().out.splitlines()
    assert all(cell_len(line) <= 60 for line in lines)


def test_a_table_without_rows_shows_its_head(capsys):
    output.table(["a", "b"], [])
    assert capsys.readouterr().out == "a  b\n"


def test_a_row_may_have_several_lines(capsys):
    output.table(["a", "b"], [("x", "one\ntwo")])
    assert capsys.readouterr().out.splitlines() == ["a  b", "x  one", "   two"]
