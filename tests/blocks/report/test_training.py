"""The picture of a training, and its numbers in words."""

import xml.etree.ElementTree as ET

import pytest

from danlu.blocks.report import page
from danlu.blocks.report.training import curves, picture, told

NUMBERS = {
    "steps": 40, "seconds": 2.5, "loss": [[10, 2.0], [20, 1.0], [40, 0.5]], "rates": [[10, 0.002], [40, 0.0]],
    "validation": {"of": "loss", "looks": [[20, 1.5], [40, 1.25]]}, "tokens_per_s": 1234.5, "mfu": 0.251,
    "flop_per_s": 5e9, "energy": {"kwh": 0.5, "co2_g": 250.0, "by": "codecarbon"}, "cost": {"energy": 0.3, "machine": 0.1},
    "peak_memory_mb": 1536.4,
}  # fmt: skip


def drawn(numbers, **options):
    root = ET.fromstring(str(picture(numbers, **options)))
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    return {
        e.attrib["class"].removeprefix("curve "): [tuple(map(float, p.split(","))) for p in e.attrib["points"].split()]
        for e in lines
    }


def test_every_curve_is_drawn_and_losses_share_a_scale():
    found = drawn(NUMBERS)
    assert set(found) == {"c1", "c2", "rate"}
    assert (found["c1"][0][1], found["c1"][-1][1]) == (12, 252), "the highest loss at the top, the lowest at the foot"
    assert found["c2"][-1] == (672, 132), "1.25 lies halfway between 0.5 and 2.0"
    assert found["rate"][-1] == (672, 252)


def test_another_metric_has_a_scale_of_its_own():
    found = drawn(NUMBERS | {"validation": {"of": "accuracy", "looks": [[20, 0.5], [40, 0.9]]}})
    assert found["c2"] == [(362, 252), (672, 12)]
    assert found["c1"][0][1] == 12


def test_a_file_of_its_own_brings_its_colours():
    assert "<style>" in picture(NUMBERS, alone=True)
    assert "<style>" not in picture(NUMBERS)


@pytest.mark.parametrize("numbers", [{}, {"loss": []}, {"loss": [], "validation": {"looks": []}}])
def test_nothing_to_draw(numbers):
    assert curves(numbers) == {}
    assert picture(numbers) == ""


def test_one_point_and_a_flat_curve_are_no_fault():
    assert drawn({"loss": [[1, 0.0]]})["c1"] == [(672, 132)]


def test_numbers_in_words_and_what_is_not_known_left_out():
    assert told(NUMBERS) == {
        "steps": "40", "time": "2.5 s", "tokens/s": "1,234", "useful GFLOP/s": "5.0",
        "of the matrix-multiply rate in bf16 (MFU)": "25.1%", "peak memory": "1,536 MB", "energy": "0.5 kWh (codecarbon)",
        "CO2": "250 g", "cost, about": "0.4",
    }  # fmt: skip
    both = {"mfu": 0.25, "matmul_share": 0.5}
    assert told(both | {"precision": "fp32"}) == {
        "of the matrix-multiply rate in bf16 (MFU)": "25.0%", "of the matrix-multiply rate in fp32": "50.0%"
    }  # fmt: skip
    assert told(both | {"precision": "bf16"}) == {"of the matrix-multiply rate in bf16 (MFU)": "25.0%"}
    assert told({"mfu": None, "energy": {"kwh": None}, "cost": {"energy": None}}) == {}


def test_the_page_has_a_section_for_it():
    base = {
        "task_name": "causal_lm", "form": "trained", "rows": 3, "seed": 0, "draws": 9, "primary": "perplexity",
        "metrics": {"perplexity": {"value": 9.0, "low": 8.0, "high": 10.0, "parts": {}}}, "beats_baselines": True,
    }  # fmt: skip
    samples = [{"step": 20, "input": "Once <b>", "answer": {"text": "upon <i>"}}]
    html = page(base | {"trainings": [{"step": "gpt", "numbers": NUMBERS, "samples": samples}]})
    for text in ("<h2>Training</h2>", "Step gpt", "25.1%", "Once &lt;b&gt;", "upon &lt;i&gt;", "validation loss"):
        assert text in html
    assert "<h2>Training</h2>" not in page(base)


def test_the_last_tick_is_not_cut_off():
    root = ET.fromstring(str(picture({"loss": [[1, 3.0], [1_200_000, 2.0]]})))
    width = float(root.attrib["viewBox"].split()[2])
    [last] = [text for text in root.iter() if text.text == "1,200,000"]
    assert float(last.attrib["x"]) + 6.2 * len(last.text) / 2 < width, "letters of 11 pixels are some 6 wide"
