"""Adapters that stand on one backbone hold it once in a process, and answer as each of them alone."""

from __future__ import annotations

import gc
import shutil
from types import SimpleNamespace

import pytest

from bundles import TEXTS, make, shake
from danlu import bundle
from danlu.blocks.shared_weights import SharedWeights
from danlu.cli import serve
from danlu.core.errors import DataError
from danlu.plugins.methods.full import Full
from danlu.plugins.methods.lora import LoRA
from danlu.registry.store import Registry
from danlu.serving.hosting import Model
from danlu.serving.metrics import Metrics
from danlu.serving.wire import Limits


def adapter(model, folder, seed, method=None):
    """A model whose method moved some weights, by a seed; `model` stays as it is."""
    method = (method or LoRA()).resolve(model.fresh)
    module = method.wrap(make(model.backbone.folder()).module)
    shake(module, seed)
    return model.save(folder, module, parts=(method,))


@pytest.fixture(scope="module")
def folders(tiny_bert, tmp_path_factory):
    """Two adapters on one backbone, and a model that was trained whole."""
    folder, model = tmp_path_factory.mktemp("adapters"), make(tiny_bert)
    made = [adapter(model, folder / name, seed) for seed, name in enumerate("ab")]
    return [*made, adapter(model, folder / "whole", 2, Full())]


def base(predictor):
    """Storage → bytes of the weights that are in the file of the frozen base, by where they lie."""
    named = dict(predictor.form.module.named_parameters())
    return {n.replace("base_layer.", ""): p.untyped_storage().data_ptr() for n, p in named.items() if "lora" not in n}


def test_the_backbone_lies_in_memory_once_and_the_adapters_do_not(folders):
    shared = SharedWeights()
    one, other, whole = [bundle.load(folder, shared=shared) for folder in folders]
    alone = bundle.load(folders[0])
    places, others = base(one), base(other)
    in_common = {name for name, place in places.items() if others[name] == place}
    encoder = {name for name in places if "classifier" not in name and "pooler" not in name}
    assert len(encoder) > 20
    assert encoder <= in_common
    assert not any("classifier" in name for name in in_common), "a head is trained: each has its own"
    assert not set(base(whole).values()) & set(places.values())
    assert not set(base(alone).values()) & set(places.values())
    lora = [p for n, p in one.form.module.named_parameters() if "lora" in n]
    theirs = {p.untyped_storage().data_ptr() for n, p in other.form.module.named_parameters() if "lora" in n}
    assert lora
    assert not theirs & {p.untyped_storage().data_ptr() for p in lora}


def test_each_answers_as_it_does_alone(folders):
    shared = SharedWeights()
    together = [bundle.load(folder, shared=shared) for folder in folders]
    answers = [predictor(TEXTS) for predictor in together]
    assert answers == [bundle.load(folder)(TEXTS) for folder in folders]
    assert answers[0] != answers[1] != answers[2]
    assert [predictor(TEXTS) for predictor in together] == answers, "after the others answered, too"


def test_what_nobody_stands_on_is_let_go(folders):
    shared = SharedWeights()
    together = [bundle.load(folder, shared=shared) for folder in folders[:2]]
    standing, size = shared.told()[0]
    assert (standing, size) == (2, sum(t.nbytes for t in together[0].form.module.stands_on[0].tensors.values()))
    assert shared.told()[1][0] == 1
    together.pop()
    gc.collect()
    assert [standing for standing, _ in shared.told()] == [1, 1]
    together.clear()
    gc.collect()
    assert shared.told() == []


def test_an_adapter_on_another_backbone_is_refused(folders, tiny_bert, tmp_path):
    model = make(tiny_bert)
    shake(model.module, 7)
    for name, module in (("mine", None), ("strange", model.module)):
        method = LoRA().resolve(model.fresh)
        model.save(tmp_path / name, method.wrap(module or make(tiny_bert).module), parts=(method,))
    (tmp_path / "mine" / "part0.safetensors").write_bytes((tmp_path / "strange" / "part0.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"(?s)part0.*not the backbone the adapter was trained on.*SHA-256 is another"):
        bundle.load(tmp_path / "mine", shared=SharedWeights())


def test_a_server_holds_it_once_and_says_so(folders, tmp_path, capsys):
    registry = Registry(tmp_path / "store")
    for name, folder in zip("abc", folders, strict=True):
        model = tmp_path / name
        shutil.copytree(folder, model / "trained")
        bundle.Forms.write(model, {"trained": bundle.FormSpec()}, default="trained")
        registry.publish(name, model, metadata={})
    limits, numbers = Limits(), Metrics()
    models = [Model(source, limits, numbers) for source in serve.read_served(registry, ["a@1", "b@1", "c@1"])]
    try:
        served = [model.current.loaded.predictor for model in models]
        assert [predictor(TEXTS[:1]) for predictor in served] == [bundle.load(folder)(TEXTS[:1]) for folder in folders]
        assert (
            base(served[0])["bert.embeddings.word_embeddings.weight"]
            == (base(served[1])["bert.embeddings.word_embeddings.weight"])
        )
        bound = SimpleNamespace(getsockname=lambda: ("127.0.0.1", 1))
        serve._greet(SimpleNamespace(models=models), bound, keyed=False)
        assert "2 of them stand on the same" in capsys.readouterr().out
    finally:
        for model in models:
            model.close(1)
