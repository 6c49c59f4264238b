"""What a training computes by the formula, and what share of the machine that is."""

import json

import pytest
import torch
from training_toys import Tagger, Tagging, examples, job
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from danlu.core.digests import cache_dir
from danlu.training import throughput
from danlu.training.loop import fit
from danlu.training.ranks import Ranks
from danlu.training.throughput import Cost, Work, ceiling, cost, figures

CPU = torch.device("cpu")
SIZE = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
LAYER = 4 * (8 * 8 + 8) + (8 * 16 + 16) + (16 * 8 + 8) + 2 * 16  # attention, two linear layers, two norms
NAMES = ("flop_per_s", "matmul_flop_per_s", "matmul_share", "matmul_bf16_flop_per_s", "mfu")
RATES = {"fp32": 1e9, "bf16": 4e9}


def test_a_layer_is_counted_at_every_token_and_the_vocabulary_at_scored_ones():
    found = cost(BertForMaskedLM(BertConfig(**SIZE)))
    transform = 8 * 8 + 8 + 16 + 50
    assert found == Cost(body=2 * LAYER + 16, head=transform + 50 * 8, layers=2, width=8)
    assert found.flop(Work(10, 100, 3)) == 6 * found.body * 10 + 12 * 2 * 8 * 100 + 6 * found.head * 3


def test_a_classifier_and_its_pooler_work_once_a_text():
    assert cost(BertForSequenceClassification(BertConfig(**SIZE))).head == (8 * 8 + 8) + (8 * 2 + 2)


def test_no_formula_for_others_and_for_frozen_weights():
    frozen = BertForMaskedLM(BertConfig(**SIZE))
    frozen.bert.embeddings.requires_grad_(False)
    for model in (Tagger(), frozen):
        assert cost(model) is None
        told = figures(model, Work(100, 1000, 100), 2.0, CPU, "fp32")
        assert told.pop("tokens_per_s") == 50.0
        assert told == dict.fromkeys(NAMES)


def test_the_share_is_useful_work_over_the_machine(monkeypatch):
    monkeypatch.setattr(throughput, "multiplied", lambda device, precision: RATES[precision])
    model, work = BertForMaskedLM(BertConfig(**SIZE)), Work(1000, 10_000, 100)
    told, reached = figures(model, work, 2.0, CPU, "fp32"), cost(model).flop(work) / 2
    assert (told["matmul_flop_per_s"], told["matmul_bf16_flop_per_s"]) == (10**9, 4 * 10**9)
    assert told["matmul_share"] == pytest.approx(reached / 1e9, abs=1e-4)
    assert told["mfu"] == pytest.approx(reached / 4e9, abs=1e-4)
    told = figures(model, work, 2.0, CPU, "bf16")
    assert told["matmul_share"] == told["mfu"] == pytest.approx(reached / 4e9, abs=1e-4)


def test_a_device_without_bf16_has_the_other_share(monkeypatch):
    def multiplied(device, precision):
        if precision == "bf16":
            raise TypeError("BFloat16 is not supported on this device")
        return 1e9

    monkeypatch.setattr(throughput, "multiplied", multiplied)
    told = figures(BertForMaskedLM(BertConfig(**SIZE)), Work(1000, 10_000, 100), 2.0, CPU, "fp32")
    assert (told["matmul_bf16_flop_per_s"], told["mfu"]) == (None, None)
    assert told["matmul_share"] > 0


class Two(Ranks):
    """The first of two ranks, whose other one is silent."""

    world = 2


def test_two_ranks_are_measured_against_twice_the_rate_of_one(monkeypatch):
    monkeypatch.setattr(throughput, "multiplied", lambda device, precision: RATES[precision])
    monkeypatch.setattr(throughput, "cost", lambda model: Cost(body=10**7, head=0, layers=1, width=8))
    for ranks, world in ((Ranks(), 1), (Two(), 2)):
        told = fit(job(ranks=ranks)).numbers
        assert told["ranks"] == world
        assert told["matmul_flop_per_s"] == world * 10**9
        assert told["matmul_share"] == pytest.approx(told["flop_per_s"] / world / 1e9, rel=1e-3)
        assert told["mfu"] == pytest.approx(told["flop_per_s"] / world / 4e9, rel=1e-3)


def test_the_machine_is_measured_once_for_each_precision(monkeypatch):
    measured = []
    monkeypatch.setattr(throughput, "multiplied", lambda device, precision: measured.append(precision) or 1e9)
    assert [ceiling(CPU, p) for p in ("fp32", "bf16", "fp32")] == [1e9] * 3
    assert measured == ["fp32", "bf16"]
    kept = json.loads((cache_dir() / "matmul.json").read_text())
    assert [key.split(",")[0] for key in kept] == ["fp32", "bf16"]


def test_a_product_takes_some_time():
    assert 1e6 < throughput.multiplied(CPU, "fp32") < 1e15


def test_tokens_are_those_that_were_seen_also_after_a_kill(tmp_path):
    class StopError(Exception):
        pass

    options = {"n": 30, "steps": None, "epochs": 1.0, "checkpoint_steps": 1, "evaluate_every": 3}
    held = examples(Tagging(), 10, skip=30)
    whole = job(validation=held, **options)
    seen = sum(len(example.inputs["ids"]) for example in whole.train)
    told = fit(whole).numbers
    assert told["tokens_per_s"] * told["seconds"] == pytest.approx(seen, rel=0.05)  # seconds are told to a thousandth

    def stop(module, step):
        raise StopError

    with pytest.raises(StopError):
        fit(job(validation=held, work=tmp_path, looked=stop, **options))
    again = fit(job(validation=held, work=tmp_path, **options))
    assert again.resumed_at
    assert again.numbers["tokens_per_s"] * again.numbers["seconds"] == pytest.approx(
        seen, rel=0.05
    )  # seconds are told to a thousandth
    assert [step for step, _ in again.numbers["rates"]] == [step for step, _ in again.numbers["loss"]]
