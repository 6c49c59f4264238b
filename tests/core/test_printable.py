import pytest

from danlu.core.printable import printable


@pytest.mark.parametrize(
    "text",
    ["plain", "丹炉 naïve e\u0301", "tab\tand\nline", "👩\u200d🔬", "می\u200cخواهم", "no\u00a0break", "全角\u3000空格"],
)
def test_what_means_itself_stays(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("over\rwritten", r"over\rwritten"),
        ("\x07\x08\x7f", r"\x07\x08\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("abc\u202etxt.exe", r"abc\u202etxt.exe"),
        ("one\u2028two", r"one\u2028two"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_what_steers_a_terminal_is_written_out(text, shown):
    assert printable(text) == shown
