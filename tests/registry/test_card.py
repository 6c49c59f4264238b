import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from danlu.registry.card import html, markdown, sections
from danlu.registry.metadata import Metadata

EVIL = "<script>alert(1)</script> | *x* `y` [z](javascript:w) </pre>"

FULL: Metadata = {
    "description": "Sentiment of film reviews.",
    "task": "text_classification",
    "labels": ["negative", "positive", EVIL],
    "data": {
        "source": "asset movie-snippets",
        "fingerprint": "f" * 64,
        "licence": "unknown",
        "splits": {"train": {"rows": 7464, "digest": "a" * 64}, "test": {"rows": 2132, "digest": "b" * 64}},
    },
    "recipe": "name: reviews\n# ```` </pre>\nsteps: {}\n",
    "training": {"epochs": 2, "learning_rate": 2e-05, "schedule": {"linear": {"warmup": 0.1}}},
    "required": {"accuracy": ">= 0.86"},
    "forms": [
        {
            "name": "trained",
            "bytes": 91_000_000,
            "metrics": {"accuracy": {"value": 0.8722, "low": 0.8573, "high": 0.8857}, "f1": 0.871},
        },
        {
            "name": "onnx-int8",
            "default": True,
            "bytes": 25_000_000,
            "metrics": {"accuracy": {"value": 0.8701, "low": 0.8551, "high": 0.8837}},
            "latency_ms": {"1": 2.5, "32": 1.25},
            "parity": {
                "against": "trained", "rows": 2132, "greatest": 0.2, "p99": 0.004, "tolerance": 0.01, "labels_changed": 0.002,
                "passed": True,
            },
        },
    ],
    "baselines": [{"name": "tfidf_lr", "metrics": {"accuracy": 0.798}}],
    "limits": ["English film reviews only."],
    "machine": {"cpu": "a CPU", "cores": 2},
    "libraries": {"torch": "2.13.0"},
    "licence": "Apache-2.0",
    "assets": [{"name": "minilm", "version": "1", "licence": "Apache-2.0", "url": "pypi", "sha256": "c" * 64}],
}  # fmt: skip

TITLES = [
    "Task", "Results", "Parity", "Limits", "Data", "Training", "Recipe", "Lineage", "Machine", "Libraries",
    "Licences and assets", "Files",
]  # fmt: skip

MANIFEST = {
    "step": "data", "stage": "prepare", "kind": "data", "key": "k", "digest": "d" * 64, "inputs": {},
    "created": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture
def version(registry, model):
    return lambda metadata, manifests=(): registry.publish("reviews", model(), metadata=metadata, manifests=manifests)


class Page(HTMLParser):
    """Collects texts, tags and attributes; fails on a tag that is closed but not open."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_both_forms_say_everything_that_was_recorded(version):
    published = version(FULL, [MANIFEST])
    pages = [Page(html(published)).text, Page(MarkdownIt().enable("table").render(markdown(published))).text]
    for text in pages:
        for said in [
            "reviews@1", published.digest, *TITLES, "Sentiment of film reviews.", "text_classification", EVIL, "7464", "a" * 64,
            "f" * 64, "learning_rate", "2e-05", '{"linear": {"warmup": 0.1}}', "# ```` </pre>", "0.872 (0.857–0.886)", "0.871",
            "91.0 MB", "onnx-int8 (default)", "2.500", "1.250", "tfidf_lr (baseline)", "0.798", "2.0e-01", "0.20%", "yes",
            "Required of every form: accuracy >= 0.86.", "English film reviews only.", "prepare", "d" * 64, "a CPU", "2.13.0",
            "Licence of this model: Apache-2.0", "minilm", "c" * 64, "onnx/model.onnx",
        ]:  # fmt: skip
            assert said in text, said
        for file in published.files.values():
            assert file.sha256 in text
        assert "Not recorded." not in text


def test_what_is_missing_is_said_and_nothing_is_made_up(version):
    published = version({})
    for page in (html(published), markdown(published)):
        assert page.count("Not recorded.") == 10
        assert "The licence of this model was not recorded." in page
    filled = {"forms": [{"name": "trained"}], "baselines": [{"name": "majority"}], "data": {"splits": {"test": {}}}}
    table = next(s for s in sections(published) if s.title == "Files").tables[0]
    assert len(table.rows) == len(published.files)
    text = "".join(str(section) for section in sections(version(filled)))
    assert "0.0" not in text
    assert "None" not in text


def test_a_form_without_baselines_says_so(version):
    assert "No baseline was recorded." in markdown(
        version({"forms": [{"name": "trained", "metrics": {"accuracy": 0.5}}]})
    )


def test_a_failed_parity_is_told(version):
    published = version({"forms": [{"name": "onnx", "parity": {"passed": False}}]})
    assert "| onnx | – | – | – | – | – | – | NO |" in markdown(published)


def test_the_page_is_one_file_and_runs_nothing(version):
    page = Page(html(version(FULL, [MANIFEST])))
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "http" not in re.sub(r"http-equiv", "", html(version(FULL)))


@pytest.mark.parametrize("part", ["description", "task", "licence", "labels", "limits", "recipe", "name", "path"])
def test_text_of_strangers_stays_text(version, part):
    metadata = {part: [EVIL] if part in ("labels", "limits") else EVIL}
    if part == "name":
        metadata = {"forms": [{"name": EVIL, "metrics": {EVIL: 0.5}}]}
    if part == "path":
        metadata = {"training": {EVIL: EVIL}, "assets": [{"name": EVIL, "url": EVIL}], "data": {"source": EVIL}}
    published = version(metadata)
    for page in (html(published), MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown(published))):
        seen = Page(page)
        assert not {"script", "a", "em"} & set(seen.tags)
        assert EVIL in seen.text


def test_markdown_tables_have_as_many_cells_in_every_row(version):
    rendered = MarkdownIt().enable("table").render(markdown(version(FULL, [MANIFEST])))
    tables = re.findall(r"<table>.*?</table>", rendered, re.DOTALL)
    assert len(tables) == 9
    for table in tables:
        rows = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        assert len({len(re.findall(r"<t[hd]", row)) for row in rows}) == 1
        assert len(rows) > 1
