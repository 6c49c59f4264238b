import copy

import pytest

from danlu.blocks.report.data_page import GENERATOR, coded, data_page

DOCUMENT = {
    "data": "a.csv", "name": "a.csv", "version": "0.1", "source": "csv", "rows": 1234, "looked_at": 1234,
    "input": ["text"], "truth": ["label"], "seconds": 2.0, "reading_seconds": 0.5, "recipe": None,
    "counts": {"stop": 0, "warn": 1, "note": 0},
    "columns": [{"name": "<b>", "type": "string", "role": "input", "missing": 0, "distinct": None, "example": "x", "reason": ""}],
    "checks": [
        {"name": "duplicates", "found": 1, "skipped": "", "seconds": 0.1},
        {"name": "pictures", "found": 0, "skipped": "there are no pictures", "seconds": 0.0},
    ],
    "findings": [{
        "check": "duplicates", "what": "some <i>rows</i> and `code`", "severity": "warn", "count": 3, "share": 0.25,
        "why": "since", "bars": [["<x>", 3], ["y", 0]], "do": "", "mended": False, "operators": ["drop_duplicates"],
        "mend": {"yaml": "operators:\n  - drop_duplicates", "override": "data.operators='[drop_duplicates]'"},
        "examples": [{"row": 7, "text": "<script>alert(1)</script>\x1b[31m", "told": "2 times", "picture": ""}],
    }],
}  # fmt: skip


def changed(**parts):
    return copy.deepcopy(DOCUMENT) | parts


def test_everything_is_escaped_and_nothing_is_loaded():
    page = data_page(DOCUMENT)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "some &lt;i&gt;rows&lt;/i&gt; and <code>code</code>" in page.replace("Some", "some")
    assert GENERATOR in page
    assert "http" not in page.replace("http-equiv", "")


def test_shares_bars_and_mends():
    page = data_page(DOCUMENT)
    assert "25 % of the rows" in page
    assert "width: 100.0%" in page
    assert "data.operators=&#39;[drop_duplicates]&#39;" in page
    assert "row 7" in page


@pytest.mark.parametrize(("parts", "told"), [
    ({}, "1,234 rows, 1 columns"),
    ({"looked_at": 617}, "<b>617 of them were looked at</b>"),
    ({"counts": {"stop": 0, "warn": 0, "note": 1}, "findings": []}, "Nothing here would spoil"),
    ({"counts": {"stop": 2, "warn": 0, "note": 0}, "findings": []}, "Mend the stops first"),
    ({"recipe": {"yaml": "operators:", "override": "data.operators='[]'"}}, "What mends it"),
    ({"input": [], "truth": []}, "Every row was looked at."),
])  # fmt: skip
def test_what_the_page_says(parts, told):
    assert told in data_page(changed(**parts))


def test_a_finding_that_the_recipe_mends():
    one = DOCUMENT["findings"][0] | {"mended": True, "mend": None, "operators": []}
    assert "The recipe mends this already" in data_page(changed(findings=[one]))


def test_an_odd_backtick_is_text():
    assert coded("a ` b") == "a ` b"
    assert coded("`<a>` b") == "<code>&lt;a&gt;</code> b"
