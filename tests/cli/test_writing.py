"""`danlu predict` of a model that writes: the text as it comes, or one document."""

import pytest
import torch

from danlu import bundle
from danlu.cli import models
from danlu.contracts import Head
from danlu.plugins.backbones.llama import Llama
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.plugins.tokenizers.character import Character

BEGINNING = "to be"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    backbone = Llama(tokenizer=Character(), positions=64)
    processor = backbone.learn(["to be or not to be, that is the question"])
    torch.manual_seed(0)
    module, _ = backbone.start(Head("next"), processor)
    path = tmp_path_factory.mktemp("made") / "writer"
    task = CausalLm(text="text", most=12, temperature=1)
    bundle.save(path / "trained", backbone=backbone, task=task, processor=processor, module=module)
    bundle.Forms.write(path, {"trained": bundle.FormSpec()}, "trained")
    return path


def test_a_text_is_written_as_it_comes(danlu, folder, monkeypatch):
    pieces = []
    own = models.piece
    monkeypatch.setattr(models, "piece", lambda text: pieces.append(text) or own(text))
    said = danlu("predict", folder, BEGINNING)
    assert said.code == 0, said.err
    written = danlu("predict", folder, BEGINNING, "--json").json["answers"][0]
    assert pieces[0].startswith(BEGINNING)
    assert "".join(pieces) == BEGINNING + written["text"]
    assert len(pieces) > 3
    assert said.out == f"{BEGINNING}{written['text']}\n\nwriter, form trained\n"


def test_a_request_may_say_how_to_write(danlu, folder):
    asked = '{"text": "to be", "most": 3, "temperature": 0}'
    (answer,) = danlu("predict", folder, asked, "--json-input", "--json").json["answers"]
    assert answer["tokens"] <= 3
    assert danlu("predict", folder, asked, "--json-input").out == f"to be{answer['text']}\n\nwriter, form trained\n"
    both = danlu("predict", folder, asked, '"to be"', "--json-input")
    assert f"{asked}\n  {{'text': {answer['text']!r}" in both.out


@pytest.mark.parametrize(
    ("asked", "told"),
    [("to be", "input 0: it is no JSON"), ('{"text": "a", "much": 3}', "a request has no 'much'"), ("[1]", "give the")],
)
def test_what_is_no_request_is_refused(danlu, folder, asked, told):
    said = danlu("predict", folder, asked, "--json-input")
    assert (said.code, said.out) == (3, "")
    assert told in said.err


def test_what_is_scored_is_told_as_before(danlu, folder):
    said = danlu("predict", folder, '{"how_likely": "to be"}', "--json-input")
    assert said.code == 0, said.err
    assert '{"how_likely": "to be"}\n  {' in said.out
    assert "'nll'" in said.out
