from danlu.blocks import summary


def form(value, mb=2.0, **more):
    score = {"value": value, "low": value - 0.01, "high": value + 0.01, "parts": {}}
    size = {"value": mb, "low": None, "high": None, "parts": {}}
    metrics = {"accuracy": score, "f1": score, "size": size}
    return {"metrics": metrics, "size_mb": mb, "latency_ms": {"1": 4.256, "1_p95": 9.0, "32": 123.4}, **more}


SCORES = {"form": "int8", **form(0.9), "baselines": {"majority": form(0.5, 0.001)}}
PARITY = {"default": "int8", "forms": {"trained": form(0.91, 91.4), "int8": form(0.9), "http": form(0.9, None)}}


def test_forms_come_first_and_baselines_last():
    table = summary.rows(SCORES, PARITY)
    assert [summary.cells(row) for row in table] == [
        ["trained", "0.910 (0.900–0.920)", "0.910 (0.900–0.920)", "91.4", "4.26", "123"],
        ["int8 (served)", "0.900 (0.890–0.910)", "0.900 (0.890–0.910)", "2.00", "4.26", "123"],
        ["int8 over HTTP", "0.900 (0.890–0.910)", "0.900 (0.890–0.910)", "–", "4.26", "123"],
        ["majority (baseline)", "0.500 (0.490–0.510)", "0.500 (0.490–0.510)", "0.00", "4.26", "123"],
    ]
    assert all(len(summary.cells(row)) == len(summary.columns()) for row in table)
    assert set(table[0]["metrics"]) == {"accuracy", "f1"}
    assert set(table[0]["latency_ms"]) == {"1", "32"}


def test_either_side_may_be_missing():
    assert [row["name"] for row in summary.rows(SCORES, None)] == ["int8", "majority"]
    assert [row["name"] for row in summary.rows(None, PARITY)] == ["trained", "int8", "int8 over HTTP"]
    assert summary.rows(None, None) == []


def test_a_metric_that_was_not_measured_is_a_dash():
    (row,) = summary.rows({"form": "x", "metrics": {}, "baselines": {}}, None)
    assert summary.cells(row) == ["x (served)", "–", "–", "–", "–", "–"]


def test_the_html_escapes_names():
    assert "<b>" not in summary.html(summary.rows({"form": "<b>", "metrics": {}, "baselines": {}}, None))


def test_other_answers_show_their_own_metrics():
    scores = {"value": 12.3456, "low": 11.0, "high": 13.0}
    told = {"form": "trained", "metrics": {"perplexity": scores, "bits_per_character": scores}, "baselines": {}}
    table = summary.rows(told, None)
    assert summary.shown(table) == ("perplexity", "bits_per_character")
    assert summary.columns(summary.shown(table))[1:3] == ("perplexity", "bits per character")
    assert summary.cells(table[0], summary.shown(table))[1] == "12.346 (11.000–13.000)"
