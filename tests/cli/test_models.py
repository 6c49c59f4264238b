import io
import sys

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def store(digits_run, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(digits_run.store.path))
    return digits_run.store.path


@pytest.fixture
def pictures(tmp_path):
    """Two real digits as files."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    paths = [tmp_path / f"{digits.target[k]}.png" for k in (0, 1)]
    for k, path in enumerate(paths):
        Image.fromarray((digits.images[k] * 255 / 16).astype("uint8")).save(path)
    return paths


def test_answers_with_their_confidence(danlu, pictures):
    said = danlu("predict", "digits", *pictures)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].split() == ["answer", "confidence", "input"]
    assert [line.split()[0] for line in lines[1:3]] == ["0", "1"]
    assert lines[-1] == "digits@1, form int8"


def test_in_json_and_by_every_reference_and_form(danlu, pictures, digits_run):
    folder = digits_run["small"].path
    for model, form in (("digits", "int8"), ("digits@1", "onnx"), ("digits@production", "trained"), (folder, "int8")):
        told = danlu("predict", model, "--form", form, *pictures, "--json").json
        assert told["form"] == form
        assert [answer["label"] for answer in told["answers"]] == ["0", "1"]
        assert set(told["answers"][0]["scores"]) == set("0123456789")


def test_inputs_from_a_file_and_from_standard_input(danlu, pictures, tmp_path, monkeypatch):
    lines = "\r\n".join(map(str, pictures)).encode() + b"\n"
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + lines)
    assert len(danlu("predict", "digits", "--file", tmp_path / "list.txt", "--json").json["answers"]) == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert len(danlu("predict", "digits", pictures[0], "--file", "-", "--json").json["answers"]) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["digits"], 2, "there is nothing to ask"),
        (["digit", "x"], 2, "did you mean digits?"),
        (["digits@7", "x"], 2, "there is no version 7"),
        (["digits@none", "x"], 2, "digits has no alias none"),
        (["./nowhere", "x"], 2, "there is no such folder"),
        ([__file__], 2, "the first word names the model, and this is a file"),
        ([__file__, "x"], 2, f"danlu predict MODEL {__file__} for a picture, --file {__file__} for"),
        (["digits", "--form", "int4", "x"], 3, "there is no form 'int4'"),
        (["digits", "missing.png"], 3, "there is no such picture"),
        (["digits", "--file", "missing.txt"], 3, "missing.txt: there is no such file\n  → "),
        (["digits", "--file", "."], 3, "can't be read: Is a directory\n  → name a text file"),
        (["digits", "--file", sys.executable], 3, "→ give a text file in UTF-8"),
    ],
)
def test_what_can_not_be_asked(danlu, arguments, code, told):
    said = danlu("predict", *arguments)
    assert (said.code, said.out) == (code, "")
    assert told in said.err
    assert danlu("predict", *arguments, "--json").json["error"]["exit_code"] == code


def test_many_inputs_show_how_far_it_is_and_keep_their_order(danlu, pictures, monkeypatch):
    from danlu.cli import models

    asked = [pictures[0], pictures[1], pictures[0], pictures[1], pictures[0]]
    few = danlu("predict", "digits", *asked, "--json")
    monkeypatch.setattr(models, "_AT_ONCE", 2)
    many = danlu("predict", "digits", *asked, "--json")
    assert many.json["answers"] == few.json["answers"]
    assert ("predict" in many.err, "predict" in few.err) == (True, False)


def test_a_damaged_file_is_refused(danlu, digits_store, pictures):
    assert danlu("predict", "digits", pictures[0], "--store", digits_store).code == 0
    (graph,) = digits_store.glob("versions/*/int8/model.onnx")
    graph.chmod(0o644)
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    said = danlu("predict", "digits", pictures[0], "--store", digits_store)
    assert said.code == 3
    assert "int8/model.onnx" in said.err
    moved = danlu("promote", "digits@1", "--alias", "next", "--store", digits_store)
    assert (moved.code, "int8/model.onnx" in moved.err) == (3, True)
    assert "next" not in danlu("versions", "digits", "--store", digits_store).out


def test_a_line_of_a_file_that_has_no_answer_is_named(danlu, digits_store, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("\n\n")
    said = danlu("predict", "digits", "--file", lines, "--store", digits_store)
    assert said.code == 3
    assert f"{lines}, line 1: names no picture: it is empty" in said.err
    said = danlu("predict", "digits", "no.png", "--file", lines, "--store", digits_store)
    assert "input 0, no.png: there is no such picture" in said.err
