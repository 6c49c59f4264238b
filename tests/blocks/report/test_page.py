import re
from html.parser import HTMLParser

import pytest

from danlu.blocks.label_details import details
from danlu.blocks.report import charts, page
from danlu.blocks.report.page import compared, confused, figure, scales, signed, unit, words
from danlu.core.printable import STEERING

EVIL = "</style><script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


class Seen(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes something else"


def scores(labels=("no", "yes"), **changes):
    answers, gold = [], []
    for k in range(120):
        given = k % len(labels)
        spread = 0.4 / max(1, len(labels) - 1)
        named = {label: 0.6 if j == given else spread for j, label in enumerate(labels)}
        answers.append({"label": labels[given], "confidence": 0.6, "scores": named})
        gold.append({"label": labels[given if k % 7 else (given + 1) % len(labels)]})
    metric = {"value": 0.857, "low": 0.8, "high": 0.91, "parts": {}}
    other = {"value": 0.5, "low": 0.41, "high": 0.59, "parts": {}}
    gap = {"value": 0.357, "low": 0.25, "high": 0.45}
    row = {"metrics": {"accuracy": other}, "seconds": 1.2, "size_mb": 0.1, "latency_ms": {"1": 0.2}}
    return {
        "task_name": "text_classification",
        "form": "int8",
        "rows": 120,
        "seed": 0,
        "draws": 1000,
        "primary": "accuracy",
        "metrics": {"accuracy": metric, "size": {"value": 2.0, "low": None, "high": None, "parts": {}}},
        "size_mb": 2.0,
        "latency_ms": {"1": 4.2, "32": 1.1},
        "baselines": {"majority": {**row, "difference": gap, "verdict": "better"}},
        "beats_baselines": True,
        "cautions": [],
        "worst": [{"row": 3, "gold": labels[0], "label": labels[1], "confidence": 0.6, "input": {"text": "so-so"}}],
        "rests_on": [{"title": "Data", "facts": {"source": {"csv": {"path": "a.csv"}}, "seed": 0}}],
        "operators": [{"name": "normalize", "rows_in": 9, "rows_out": 8, "changed": 1, "samples": [["a", None]], "notes": []}],
        **details(answers, gold, dict.fromkeys(labels, 300)),
        **changes,
    }  # fmt: skip


def drawn(told):
    seen, html = Seen(), page(told)
    seen.feed(html)
    assert seen.open == [], "a tag is left open"
    return html, seen


def test_the_page_says_what_was_measured():
    html, seen = drawn(scores())
    for text in ("Text classification", "0.857", "0.800 – 0.910", "2.00 MB", "4.20 ms", "so-so", "a.csv"):
        assert text in html
    assert re.search(r"Better than majority</b> in accuracy, by 0\.357\s+\(0\.250 to 0\.450\)", html)
    assert seen.tags.count("svg") >= 6
    assert len(re.findall('class="card[ "]', html)) == 3, "size is shown once, not as a metric too"


def test_it_loads_nothing_and_runs_nothing():
    _, seen = drawn(scores())
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "href", "srcset")]
    policy = [value for name, value in seen.attributes if name == "content"]
    assert any("default-src 'none'" in value for value in policy)


def test_every_text_from_outside_is_escaped():
    worst = [{"row": 1, "gold": EVIL, "label": EVIL, "confidence": 0.9, "input": {"text": EVIL}}]
    step = {"name": EVIL, "rows_in": 1, "rows_out": 1, "changed": 1, "samples": [[EVIL, EVIL]], "notes": [EVIL]}
    told = scores(
        labels=(EVIL, "b", "c"),
        worst=worst,
        cautions=[EVIL],
        operators=[step],
        form=EVIL,
        task_name=EVIL,
        rests_on=[{"title": EVIL, "facts": {EVIL: EVIL, "deep": {EVIL: [EVIL]}}}],
    )
    told["baselines"] = {EVIL: told["baselines"]["majority"]}
    html, seen = drawn(told)
    assert "script" not in seen.tags
    assert "img" not in seen.tags
    assert "onerror" not in [name for name, _ in seen.attributes]
    assert html.count("&lt;script&gt;") > 10


@pytest.mark.parametrize(
    ("verdict", "gap", "text"),
    [
        ("worse", (-0.1, -0.2, -0.05), "Worse than majority"),
        ("no clear difference", (0.01, -0.02, 0.04), "No better than majority"),
        ("no clear difference", (None, None, None), "No better than majority"),
    ],
)
def test_a_model_that_beats_nothing_is_said_to(verdict, gap, text):
    told = scores(beats_baselines=False)
    told["baselines"]["majority"] |= {"verdict": verdict, "difference": dict(zip(("value", "low", "high"), gap))}
    html, _ = drawn(told)
    assert text in html
    assert "Better than" not in html
    assert "verdict bad" in html


def test_what_was_not_measured_is_left_out():
    told = scores()
    kept = {name: told[name] for name in ("task_name", "form", "rows", "seed", "draws", "primary", "metrics")}
    html, _ = drawn({**kept, "baselines": {}, "beats_baselines": True})
    assert "Label by label" not in html
    assert "surest mistakes" not in html


def test_a_picture_is_shown_from_inside_the_file():
    uri = "data:image/png;base64,AAAA"
    worst = [{"row": 1, "gold": "a", "label": "b", "confidence": 0.9, "input": {"picture": uri}}]
    _, seen = drawn(scores(worst=worst))
    assert ("src", uri) in seen.attributes


def test_many_labels_are_listed_by_pairs_instead_of_a_matrix():
    html, _ = drawn(scores(labels=tuple(f"label {k}" for k in range(25))))
    assert 'class="matrix"' not in html
    assert "mistaken most often" in html
    assert 'class="matrix"' in drawn(scores())[0]


def test_pairs_are_sorted_and_leave_right_answers_out():
    pairs = confused({"names": ["a", "b"], "matrix": [[8, 2], [3, 7]]})
    assert pairs == [
        {"gold": "b", "label": "a", "rows": 3, "share": 0.3},
        {"gold": "a", "label": "b", "rows": 2, "share": 0.2},
    ]


def test_one_scale_holds_all_intervals_of_a_column():
    assert scales(compared(scores())) == {"accuracy": (0.41, 0.91)}


def test_whiskers_and_bars_stay_inside_their_box():
    assert 'x1="4.0" x2="116.0"' in charts.whisker(0.5, 0.0, 1.0, 0.0, 1.0)
    assert 'cx="4.0"' in charts.whisker(0.5, 0.5, 0.5, 0.5, 0.5)
    assert 'width="60.0"' in charts.share_bar(1.0)
    assert 'width="0.0"' in charts.share_bar(None)


def test_the_curve_of_two_labels_is_drawn_once():
    curve = {"false": [0, 1], "true": [0, 1]}
    assert charts.roc({"a": curve, "b": curve}).count("<polyline") == 1
    assert charts.roc(dict.fromkeys("abc", curve)).count("<polyline") == 3
    assert "legend" in charts.roc(dict.fromkeys("abc", curve))
    assert "legend" not in charts.roc(dict.fromkeys("abcdefghijkl", curve))


def test_numbers_are_written_one_way():
    assert [figure(0.5), figure(None), signed(-0.02), signed(0.02)] == ["0.500", "–", "−0.020", "+0.020"]
    assert [unit(1234.5, "MB"), unit(12.34, "ms"), unit(None, "ms")] == ["1,234 MB", "12.3 ms", "–"]
    assert [words("roc_auc"), words("text_classification"), words("f1")] == ["ROC AUC", "Text classification", "F1"]


def test_a_perfect_curve_goes_through_the_upper_left_corner():
    perfect = {"false": [0.0, 0.0, 1.0], "true": [0.0, 1.0, 1.0]}
    assert 'points="44.0,314.0 44.0,14.0 344.0,14.0"' in charts.roc({"a": perfect, "b": perfect})


def test_what_steers_a_terminal_is_written_out():
    drawn = page(scores() | {"form": "trained\x1b[2J\u202e"})
    assert "trained\\x1b[2J\\u202e" in drawn
    assert not STEERING.search(drawn)
