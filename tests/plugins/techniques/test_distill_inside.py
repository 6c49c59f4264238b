"""Distillation of hidden states and of attention, between tiny BERTs of which plain transformers says the same."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from torch.nn import functional

from danlu.blocks import hf, inner
from danlu.blocks.unpadded import Row
from danlu.contracts import Example, Head
from danlu.core.errors import RecipeError
from danlu.plugins.techniques.distill import Distill
from danlu.plugins.techniques.ema import EMA
from danlu.plugins.techniques.mixup import Mixup
from technique_toys import See, trained

HEAD = Head("input", 3, ("one", "two", "three"))


def made(layers=2, width=16, heads=2, seed=0, kind="bert", dropout=0.0, head=HEAD):
    torch.manual_seed(seed)
    shape = {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads, "vocab_size": 24}
    if kind == "modernbert":
        shape |= {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    if kind != "gpt2":
        shape |= {"intermediate_size": 2 * width, "max_position_embeddings": 24}
    model = hf.from_scratch(kind, head, 0, dropout=dropout, **shape)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.15 * torch.randn_like(weight)
    return model


def texts(n=12, seed=0):
    rng, found = np.random.default_rng(seed), []
    for k in range(n):
        ids = np.array([1 + k % 3, *rng.integers(4, 24, 2 + k % 5)], np.int64)
        found.append(Example({"input_ids": ids, "attention_mask": np.ones(len(ids), np.int64)}, {"label": k % 3}))
    return found


def learnt(techniques, module=None, teacher=None, **options):
    module = module or made(seed=1)
    beside = {"teacher": (teacher or made(4, seed=2)).eval()}
    return trained(module, texts(), techniques, beside=beside, **{"lr": 3e-3, "steps": 4} | options)


def plainly(model, **inputs):
    """What the library says without us: hidden states and maps of attention of all layers."""
    heard = hf.from_scratch(
        "bert", HEAD, 0, **{n: getattr(model.config, n) for n in (
            "num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "intermediate_size",
            "max_position_embeddings")}, dropout=0.0
    )  # fmt: skip
    plain = type(heard)(heard.config)
    plain.load_state_dict(model.state_dict())
    plain.set_attn_implementation("eager")
    return plain.eval()(**inputs, output_hidden_states=True, output_attentions=True)


def batch():
    ids = torch.tensor([[1, 5, 6, 7], [2, 8, 0, 0]])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


@pytest.mark.parametrize("training", [False, True])
def test_what_is_heard_is_what_the_library_says(training):
    """Also of the last layer, of which the classifier alone reads one token."""
    model = made(3).train(training)
    before = {name: type(part) for name, part in model.named_modules()}
    layers = inner.Layers(model, "it", always=not training)
    layers.listen([inner.name("hidden", k) for k in range(4)] + [inner.name("attention", k) for k in (1, 2, 3)])
    said, wanted = model(**batch()), plainly(model, **batch())
    torch.testing.assert_close(said["logits"], wanted.logits, atol=1e-5, rtol=1e-5)
    for k in range(4):
        torch.testing.assert_close(layers.found[f"hidden.{k}"], wanted.hidden_states[k], atol=1e-5, rtol=1e-5)
    for k in (1, 2, 3):
        torch.testing.assert_close(layers.found[f"attention.{k}"], wanted.attentions[k - 1], atol=1e-5, rtol=1e-5)
    layers.close()
    model(**batch())
    assert layers.found == {}
    assert {name: type(part) for name, part in model.named_modules()} == before
    assert not any(inner.ear(part) or part._forward_hooks for part in model.bert.encoder.modules())


def test_nobody_pays_who_does_not_listen(monkeypatch):
    """Looks at the validation rows hear nothing either: the last layer's attention is made for one token again."""
    asked = []
    monkeypatch.setattr(
        hf, "attend", lambda *given, **named: asked.append(given[1].shape[2]) or _attend(*given, **named)
    )
    model = made()
    layers = inner.Layers(model, "it")
    layers.listen(["hidden.2"])
    model.eval()(**batch())
    assert (asked, layers.found) == ([1], {})


_attend = hf.attend


def test_padding_is_computed_where_somebody_listens(monkeypatch):
    monkeypatch.setattr(Row, "attend", None)
    model = made(head=Head("position", 3, HEAD.labels)).train()
    with pytest.raises(TypeError):
        model(**batch())
    layers = inner.Layers(model, "it")
    layers.listen(["hidden.1"])
    model(**batch())
    assert layers.found["hidden.1"].shape == (2, 4, 16)


def seen(technique, module, teacher):
    found = []

    def note(run):
        found.append((run.batch, run.outputs["logits"].detach(), run.losses().detach()))

    learnt((technique, See(note)), module, teacher, steps=1, lr=1e-9)
    return found[0]


def over_tokens(each, mask):
    return torch.stack([row[real > 0].mean() for row, real in zip(each, mask, strict=True)])


@pytest.mark.parametrize("maps", ["kl", "mse"])
def test_the_loss_is_the_papers_without_padding(maps):
    """Hidden states by their mean square (TinyBERT), attention by the divergence (MiniLM), written out again."""
    ours, theirs = made(seed=1), made(4, seed=2)
    one, two = ({"hidden": 0.7, "attention": 0.3}, {})
    (given, logits, more), (_, _, less) = (seen(Distill(features=f, maps=maps), ours, theirs) for f in (one, two))
    said, wanted = plainly(ours, **given.inputs), plainly(theirs, **given.inputs)
    mask = given.inputs["attention_mask"]
    torch.testing.assert_close(logits, said.logits, atol=1e-5, rtol=1e-5)
    pairs = [(0, 0), (1, 2), (2, 4)]
    hidden = [(said.hidden_states[a] - wanted.hidden_states[b]).square().mean(-1) for a, b in pairs]
    maps_of = [(said.attentions[a - 1], wanted.attentions[b - 1]) for a, b in pairs[1:]]
    if maps == "kl":
        looks = [functional.kl_div((p + 1e-30).log(), q, reduction="none").sum(-1).mean(1) for p, q in maps_of]
    else:
        looks = [(p - q).square().sum(-1).mean(1) for p, q in maps_of]
    apart = 0.7 * sum(over_tokens(e, mask) for e in hidden) / 3 + 0.3 * sum(over_tokens(e, mask) for e in looks) / 2
    torch.testing.assert_close(more - less, apart, atol=1e-4, rtol=1e-4)


def test_other_numbers_of_heads_are_compared_by_their_means():
    p, q = torch.rand(2, 2, 3, 3).softmax(-1), torch.rand(2, 4, 3, 3).softmax(-1)
    apart = inner.attention_apart(p, q, None, by="mse")
    torch.testing.assert_close(apart, (p.mean(1) - q.mean(1)).square().sum(-1).mean(1))
    assert inner.attention_apart(q, q, None, by="kl").abs().max() < 1e-6


def test_the_map_of_layers():
    assert inner.uniform(2, 4) == [(1, 2), (2, 4)]
    assert inner.uniform(4, 6) == [(1, 2), (2, 3), (3, 5), (4, 6)]
    assert inner.uniform(3, 3) == [(1, 1), (2, 2), (3, 3)]
    assert inner.uniform(12, 2)[0] == (1, 1)


def weights(module):
    return torch.cat([w.detach().flatten() for w in module.parameters()])


def test_each_feature_moves_the_student_elsewhere():
    chosen = ({}, {"hidden": 1.0}, {"attention": 1.0}, {"hidden": 1.0, "attention": 1.0})
    ends = [weights(learnt((Distill(features=features),))) for features in chosen]
    ends += [weights(learnt((Distill(features={"hidden": 1.0}, layers="last"),)))]
    assert all(not torch.allclose(a, b, atol=1e-4) for k, a in enumerate(ends) for b in ends[:k])


def gap(student, teacher):
    found = [plainly(model, **batch()).hidden_states[-1] for model in (student, teacher)]
    return float((found[0] - found[1]).detach().square().mean())


def test_hidden_states_come_nearer():
    teacher = made(4, seed=2)
    without, taught = (
        gap(learnt((Distill(features=features),), teacher=teacher, steps=30), teacher)
        for features in ({}, {"hidden": 5.0})
    )
    assert taught < 0.8 * without


def test_another_width_goes_through_a_map_that_is_learnt_and_dropped():
    teacher, found = made(4, 24, 3, seed=2), []

    def note(run):
        found.append({name: w.detach().clone() for name, w in run.trained("lent_distill").items()})

    student = learnt((Distill(features={"hidden": 1.0, "attention": 1.0}), See(note), EMA()), teacher=teacher)
    assert {tuple(w.shape) for w in found[0].values()} == {(16, 24), (24,)}
    assert all(not torch.equal(found[0][name], found[-1][name]) for name in found[0])
    assert student.state_dict().keys() == made().state_dict().keys()
    assert not any(inner.ear(part) for module in (student, teacher) for part in module.modules())


@pytest.mark.parametrize("options", [{}, {"checkpointing": True}], ids=["plain", "recomputed"])
def test_a_resumed_training_ends_the_same(tmp_path, options):
    technique = Distill(features={"hidden": 1.0, "attention": 1.0})
    teacher = made(4, 24, 3, seed=2)

    def run(see=(), **more):
        return learnt((technique, *see), made(seed=1, dropout=0.1), teacher, steps=6, lr=1e-3, **options, **more)

    whole = run()

    def stop(run):
        if run.step == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        run((See(stop),), work=tmp_path)
    heard = []
    again = run((See(lambda run: heard.append(run.step)),), work=tmp_path)
    assert heard[0] == 4
    assert torch.equal(weights(whole), weights(again))


def test_recomputed_layers_teach_the_same():
    technique = Distill(features={"hidden": 1.0, "attention": 1.0})
    plain, recomputed = (weights(learnt((technique,), checkpointing=again)) for again in (False, True))
    torch.testing.assert_close(plain, recomputed, atol=1e-5, rtol=1e-5)


def test_mixtures_are_taught_by_both():
    assert learnt((Distill(features={"hidden": 1.0}), Mixup(alpha=1.0)), backbone=_Bert())


class _Bert:
    name = "bert"

    def embeddings(self, model):
        return [model.get_input_embeddings()]


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "llama", "modernbert"])
def test_other_families_learn_too(kind):
    ends = [
        weights(learnt((Distill(features=features),), made(seed=1, kind=kind), made(4, seed=2, kind=kind)))
        for features in ({}, {"hidden": 1.0, "attention": 1.0})
    ]
    assert not torch.allclose(ends[0], ends[1], atol=1e-4)


def test_a_transformer_of_pictures_gives_its_hidden_states():
    shape = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    model = hf.from_scratch("vit", HEAD, image_size=8, patch_size=4, num_channels=1, **shape)
    layers = inner.Layers(model, "it")
    layers.listen(["hidden.0", "hidden.2"])
    model.train()(pixel_values=torch.zeros(2, 1, 8, 8))
    assert layers.gives == ("hidden",)
    assert [tensor.shape for tensor in layers.found.values()] == [(2, 5, 16), (2, 5, 16)]


def test_who_gives_nothing_is_told():
    def logits_alone(**inputs):
        return {"logits": torch.zeros(len(inputs["input_ids"]), 3)}

    technique = Distill(features={"attention": 1.0})
    with pytest.raises(RecipeError, match=r"gives no attention, it gives logits(?! and)"):
        trained(made(), texts(), (technique,), beside={"teacher": logits_alone})
    foreign = made(seed=2)
    foreign.set_attn_implementation("eager")
    with pytest.raises(RecipeError, match="the teacher gives no attention, it gives logits and hidden"):
        learnt((technique,), teacher=foreign)
    with pytest.raises(RecipeError, match="the trained model has no layer 3 that gives hidden"):
        learnt((Distill(features={"hidden": 1.0}, layers=((3, 4),)),))
