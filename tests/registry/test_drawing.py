import re
import xml.etree.ElementTree as ET

import pytest

from danlu.registry.drawing import svg
from danlu.registry.telling import tree


def manifest(step, stage, kind, inputs):
    """As `core.artifact` writes it, in the parts that matter here."""
    told = {name: {key: source[key] for key in ("key", "digest", "kind", "step")} for name, source in inputs.items()}
    about = {"step": step, "stage": stage, "kind": kind, "key": f"key-{step}", "digest": f"digest-{step}"}
    return {**about, "inputs": told, "settings": {}, "numbers": {}, "files": {"a": {"sha256": "x", "size": 1}}}


DATA = manifest("data", "prepare", "data", {})
TUNED = manifest("tuned", "finetune", "model", {"data": DATA})
SMALL = manifest("small", "compress", "model", {"model": TUNED, "data": DATA})
SCORE = manifest("score", "evaluate", "scores", {"model": SMALL, "data": DATA})
ALL = [SCORE, SMALL, DATA, TUNED]


@pytest.fixture
def version(registry, model):
    def version(manifests=ALL, **metadata):
        return registry.publish("reviews", model(f"of-{len(manifests)}"), metadata=metadata, manifests=manifests)

    return version


def boxes(picture):
    """(left, top, right, bottom) of every box, and (x, y, text) of every line of text."""
    root = ET.fromstring(picture)
    found, texts = [], []
    for one in root.iter():
        if one.tag.endswith("rect") and one.get("x"):
            x, y, w, h = (float(one.get(name)) for name in ("x", "y", "width", "height"))
            found.append((x, y, x + w, y + h))
        if one.tag.endswith("text"):
            texts.append((float(one.get("x")), float(one.get("y")), one.text))
    return found, texts


def test_the_tree_goes_from_the_version_to_its_data(version):
    lines = tree(version(data={"fingerprint": "f" * 64, "splits": {"train": {"rows": 1234}}}))
    heads = [re.sub(r"^[│├└─ ]*", "", line).split(":")[0] for line in lines if "──" in line]
    assert heads == ["score", "small", "tuned", "data", "data", "data"]
    assert lines[0].startswith("reviews@1: ")
    assert sum("told above" in line for line in lines) == 2
    assert any("key key-tuned" in line for line in lines)


def test_settings_that_are_the_default_are_left_out(version):
    tuned = manifest("tuned", "finetune", "model", {})
    settings = {"epochs": 7.0, "method": {"full": {}}, "backbone": {"cnn": {"size": "tiny", "dropout": 0.1}}}
    told = "\n".join(tree(version([{**tuned, "settings": settings}])))
    assert "epochs 7.0" in told
    assert "backbone cnn (size tiny)" in told
    assert "method" not in told


def test_a_stage_that_is_not_here_is_told_with_all_its_settings(version):
    gone = {**manifest("odd", "no_such_stage", "model", {}), "settings": {"a": 1}}
    assert "a 1" in "\n".join(tree(version([gone])))


def test_boxes_do_not_overlap_and_hold_their_text(version):
    wide = [manifest(f"data{k}", "prepare", "data", {}) for k in range(5)]
    joined = manifest("joined", "finetune", "model", {f"d{k}": one for k, one in enumerate(wide)})
    long = {**joined, "settings": {"a": "丹" * 90, "b": "x" * 500}}
    for manifests in (ALL, [*wide, long], []):
        found, texts = boxes(svg(version(manifests)))
        assert len(found) == 1 + len({m["key"] for m in manifests})
        for k, (left, top, right, bottom) in enumerate(found):
            for other in found[k + 1 :]:
                assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
        for x, y, text in texts:
            wide_letters = sum(ord(letter) > 0x2E80 for letter in text)
            assert any(l <= x and x + 7.3 * (len(text) + wide_letters) <= r and t < y < b for l, t, r, b in found)  # noqa: E741
        by_place = {(x, y) for x, y, _ in texts}
        assert len(by_place) == len(texts)


def test_no_arrow_runs_through_a_box(version):
    picture = svg(version())
    found, _ = boxes(picture)
    for path in re.findall(r'<path d="(M[^"]+C[^"]+)"', picture):
        x1, y1, straight, *_, x2, y2 = map(float, re.findall(r"-?\d+(?:\.\d+)?", path))
        for left, top, right, bottom in found:
            assert not (left < x1 < right and top < (y1 + straight) / 2 - 0.1 < bottom - 0.1)
            assert not (left < (x1 + x2) / 2 < right and top < (straight + y2) / 2 < bottom)


def test_text_of_strangers_stays_text(version):
    evil = {
        **manifest("a<script>", "prepare", "data", {}),
        "settings": {"x": "</text><script>alert(1)</script>\x1b[31m"},
    }
    picture = svg(version([evil]))
    assert "<script" not in picture
    assert "\x1b" not in picture
    assert not re.search(r"(href|src|url\((?!#))", picture)
    ET.fromstring(picture)


def test_the_model_comes_first(digits_run):
    from danlu.registry.store import Registry

    lines = tree(Registry(digits_run.store.path).resolve("digits"))
    assert next(line for line in lines if "──" in line).startswith("├── small: model ")
    found, _ = boxes(svg(Registry(digits_run.store.path).resolve("digits")))
    assert len(found) == 7  # the source, five artifacts and the version
