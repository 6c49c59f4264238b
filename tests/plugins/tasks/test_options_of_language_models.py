"""Options of the tasks of language models: each reaches the loss, or the choice of what is hidden."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from danlu.blocks import masking
from danlu.blocks.tokens import TextProcessor
from danlu.plugins.backbones.t5 import T5
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.plugins.tasks.masked_lm import MaskedLm
from danlu.plugins.tasks.seq2seq import Seq2seq
from danlu.plugins.tasks.span_denoising import SpanDenoising
from tiny_models import write_tokenizer

SCORES = torch.tensor([[[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]]])
TARGETS = torch.tensor([[0, 2]])
TEXT = " ".join((*masking.SAMPLE, "zebra quartz unknown", "fjord xylophone"))
"""Words that the tokenizer knows and words that it cuts into letters."""


def _loss(task):
    return task.loss({"logits": SCORES}, SimpleNamespace(targets={"targets": TARGETS}))


@pytest.mark.parametrize("task", [CausalLm, Seq2seq])
def test_label_smoothing_is_part_of_the_loss(task):
    expected = torch.nn.functional.cross_entropy(SCORES[0], TARGETS[0], reduction="sum", label_smoothing=0.2)
    assert _loss(task(label_smoothing=0.2)).item() == pytest.approx(expected.item(), rel=1e-5)
    assert _loss(task()).item() != pytest.approx(expected.item(), rel=1e-2)


def test_the_z_loss_is_part_of_the_loss():
    more = 0.5 * SCORES[0].logsumexp(-1).square().sum()
    assert (_loss(CausalLm(z_loss=0.5)) - _loss(CausalLm())).item() == pytest.approx(more.item(), rel=1e-5)


@pytest.fixture
def cut(tmp_path):
    """A processor and the ids of the text by it."""
    write_tokenizer(tmp_path)
    processor = TextProcessor.load(tmp_path)
    return processor, np.array(processor.cut([TEXT])[0], dtype=np.int64)


def _three_ways(processor, ids, **options):
    """The training example, the same hidden anew, and the example that is scored."""
    task = MaskedLm(text="text", length=256, **options)
    block = task.block(ids, np.ones_like(ids), processor)
    [scored] = task.encode({"how_likely": TEXT}, processor)
    return block, task.vary(block, np.random.default_rng(3)), scored


@pytest.mark.parametrize("way", [0, 1, 2])
def test_share_and_unit_say_what_is_hidden(cut, way):
    processor, ids = cut
    at = {unit: set(_three_ways(*cut, unit=unit)[way].inputs["at"].tolist()) for unit in ("token", "word", "span")}
    free = np.flatnonzero(~np.isin(ids, sorted(processor.specials())))
    words = np.split(free, np.flatnonzero(processor.begins_words()[ids[free]])[1:])
    whole = {unit: all(len(places & set(word.tolist())) in (0, len(word)) for word in words)
             for unit, places in at.items()}  # fmt: skip
    assert whole == {"token": False, "word": True, "span": True}
    assert at["word"] != at["span"]
    assert len(_three_ways(*cut, share=0.5)[way].inputs["at"]) > 2 * len(at["token"])


@pytest.mark.parametrize("way", [0, 1])
def test_left_and_swapped_say_what_stands_there(cut, way):
    mask = cut[0].special("mask_token")

    def stands(**options):
        made = _three_ways(*cut, **options)[way]
        return made.inputs["input_ids"][made.inputs["at"]], made.targets["targets"]

    hidden, _ = stands(left=0.0, swapped=0.0)
    assert (hidden == mask).all()
    hidden, before = stands(left=1.0, swapped=0.0)
    assert (hidden == before).all()
    hidden, before = stands(left=0.0, swapped=1.0)
    assert (hidden != mask).mean() > 0.8 < (hidden != before).mean()


@pytest.mark.parametrize("way", [0, 1, 2])
def test_share_and_span_say_which_spans_are_hidden(way):
    processor = T5().learn([TEXT])
    ids = np.array(processor.cut([TEXT])[0], dtype=np.int64)

    def written(**options):
        """How many sentinels and how many other tokens are to be written."""
        task = SpanDenoising(text="text", length=512, **options)
        block = task.block(ids, np.ones_like(ids), processor)
        [scored] = task.encode({"how_likely": TEXT}, processor)
        targets = (
            block.targets["targets"], task.vary(block, np.random.default_rng(3)).targets["targets"],
            scored.inputs["tokens"],
        )[way]  # fmt: skip
        special = np.isin(targets, sorted(processor.specials()))
        return int(special.sum()), int((~special).sum())

    plain, more, longer = written(share=0.2, span=2.0), written(share=0.5, span=2.0), written(share=0.2, span=5.0)
    assert more[1] > 2 * plain[1]
    assert longer[0] < 0.7 * plain[0]
