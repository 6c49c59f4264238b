"""A model on disk: replayed, checked, whole or visibly not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bundles import LABELS, TEXTS, Model, make, shake
from danlu import bundle
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Compressor, Runtime
from danlu.core import plugin
from danlu.core.errors import DataError
from danlu.core.files import sha256_file
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.backbones.tfidf_lr import TfidfLr
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor


@pytest.fixture
def model(tiny_bert: Path) -> Model:
    made = make(tiny_bert)
    shake(made.module)
    return made


# ---- a whole model ---------------------------------------------------------------------------------------------------


def test_a_saved_model_answers_the_same(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    assert bundle.load(folder)(TEXTS) == model.answers()
    module, backbone, task, processor = bundle.load_module(folder)
    assert (backbone, task) == (model.backbone, model.task)
    assert all(weight.requires_grad for weight in module.parameters())
    assert processor.inputs("north")["input_ids"].tolist() == model.processor.inputs("north")["input_ids"].tolist()


def test_a_saved_model_answers_the_same_in_another_process(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    code = f"import json; from danlu import bundle; print(json.dumps(bundle.load(__import__('pathlib').Path({str(folder)!r}))(['amber'])))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert json.loads(out.stdout)[0] == bundle.load(folder)(["amber"])[0]


def test_plain_transformers_gives_the_same_answers(model: Model, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = model.save(tmp_path / "m")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert theirs.config.id2label == dict(enumerate(LABELS))
    with torch.inference_mode():
        for text in [text for text in TEXTS if text.isprintable()]:
            given = tokenizer(text, truncation=True, return_tensors="pt")
            assert given["input_ids"][0].tolist() == model.processor.inputs(text)["input_ids"].tolist()
            logits = theirs(**given).logits[0].numpy()
            ours = TorchForm(model.module).forward({k: v[None] for k, v in model.processor.inputs(text).items()})
            assert np.abs(logits - ours["logits"][0]).max() <= 1e-6


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_a_network_for_pictures(size: str, tmp_path: Path) -> None:
    backbone, task = Cnn(size=size), ImageClassification(image="image", label="label", labels=("a", "b", "c"))
    pictures = [task.ask(row) for row in task.sample(6)]
    processor = backbone.learn(pictures)
    module, _ = backbone.start(task.head(), processor)
    bundle.save(tmp_path / "m", backbone=backbone, task=task, processor=processor, module=module)
    assert bundle.load(tmp_path / "m")(pictures) == Predictor(TorchForm(module), task, processor)(pictures)


def test_a_model_that_counts(tmp_path: Path) -> None:
    backbone, task = TfidfLr(), TextClassification(text="text", label="label", labels=LABELS)
    processor = backbone.learn(["good one", "bad one"])
    module, _ = backbone.start(task.head(), processor)
    module.coefficients.normal_()
    bundle.save(tmp_path / "m", backbone=backbone, task=task, processor=processor, module=module)
    assert bundle.load(tmp_path / "m")(TEXTS) == Predictor(TorchForm(module), task, processor)(TEXTS)


# ---- a model of parts ------------------------------------------------------------------------------------------------


def adapted(model: Model, rank: int, seed: int) -> tuple[nn.Module, LoRA]:
    made = make(Path(model.backbone.model), seed)
    method = LoRA(rank=rank).resolve(made.fresh)
    return shake(method.wrap(made.module), seed), method


def test_half_a_model_never_looks_whole(model: Model, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    module, method = adapted(model, rank=2, seed=0)
    folder = model.save(tmp_path / "m", module, (method,))
    assert sorted(p.name for p in folder.glob("*.safetensors")) == ["part0.safetensors", "part1.safetensors"]
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(folder)
    assert bundle.load(folder)(TEXTS) == model.answers(module)


def test_merged_it_is_whole(model: Model, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    module, method = adapted(model, rank=2, seed=0)
    folder = model.save(tmp_path / "m", method.merge(module))
    assert [p.name for p in folder.glob("*.safetensors")] == ["model.safetensors"]
    AutoModelForSequenceClassification.from_pretrained(folder)
    for ours, theirs in zip(bundle.load(folder)(TEXTS), model.answers(module), strict=True):
        assert model.task.distance(ours, theirs) <= method.tolerance


def test_all_adapters_share_one_base_file(model: Model, tmp_path: Path) -> None:
    folders = []
    for rank, seed in ((2, 0), (4, 7)):
        module, method = adapted(model, rank, seed)
        folders.append(model.save(tmp_path / f"r{rank}", module, (method,)))
    first, second = ({f.name: sha256_file(f) for f in folder.glob("*.safetensors")} for folder in folders)
    assert first["part0.safetensors"] == second["part0.safetensors"]
    assert first["part1.safetensors"] != second["part1.safetensors"]
    assert not any("classifier" in name for name in load_file(folders[0] / "part0.safetensors"))


STRANGERS = """
import torch
from torch import nn
from danlu.blocks.blind import Blind
from danlu.contracts import Backbone, Compressor

class Tied(Backbone):
    processor_class = Blind
    def learn(self, inputs): return Blind()
    def build(self, head, processor, folder): return Net(head.size)

class Halved(Compressor):
    def wrap(self, model):
        model.out = Half(*reversed(model.out.weight.shape))
        return model
    def compress(self, model, batches):
        weight = model.out.weight.detach()
        self.wrap(model).out.weight.copy_(weight)
        return model

class Net(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(n, n, bias=False), nn.Linear(n, n), nn.Linear(n, n, bias=False)
        self.second.weight = self.first.weight
        self.start = nn.Linear(1, n)
    def forward(self, one):
        return {"logits": self.out(self.second(self.first(self.start(one))))}

class Half(nn.Module):
    def __init__(self, n, m):
        super().__init__()
        self.register_buffer("weight", torch.zeros(m, n, dtype=torch.float16))
    def forward(self, x): return x @ self.weight.float().T
"""


def imported(tmp_path: Path) -> dict[str, type]:
    path = tmp_path / "strangers.py"
    path.write_text(STRANGERS)
    return {entry.name: plugin.load(entry.family, entry.name) for entry in plugin.add_file(path)}


def test_tied_weights_are_written_once_and_a_compressed_part_alone_moves_up(strangers: None, tmp_path: Path) -> None:
    classes = imported(tmp_path)
    backbone, compressor = classes["tied"](), classes["halved"]()
    task = TextClassification(text="text", label="label", labels=LABELS)
    module, _ = backbone.start(task.head(), backbone.learn([]))
    module = compressor.compress(module, [])
    whole = {"backbone": backbone, "task": task, "processor": backbone.learn([]), "module": module}
    bundle.save(tmp_path / "m", **whole, parts=(compressor,))
    base, top = (load_file(tmp_path / "m" / f"part{k}.safetensors") for k in (0, 1))
    assert sorted(base) == ["first.weight", "second.bias", "start.bias", "start.weight"]
    assert list(top) == ["out.weight"]
    expected = Predictor(TorchForm(module), task, backbone.learn([]))(["x"])
    assert bundle.load(tmp_path / "m")(["x"]) == expected
    loaded = bundle.load_module(tmp_path / "m")[0]
    assert loaded.first.weight is loaded.second.weight


def test_parts_that_do_not_build_the_module_are_refused_and_nothing_is_left(model: Model, tmp_path: Path) -> None:
    module, _ = adapted(model, rank=2, seed=0)
    with pytest.raises(ValueError, match="the parts named do not build this module"):
        model.save(tmp_path / "m", module)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_told_and_nothing_is_left(model: Model, tmp_path: Path) -> None:
    saved = model.save(tmp_path / "m")
    code = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from danlu import bundle
        from danlu.core.errors import MachineError
        module, backbone, task, processor = bundle.load_module(Path({str(saved)!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            bundle.save(Path({str(tmp_path / "full")!r}), backbone=backbone, task=task, processor=processor, module=module)
        except MachineError as error:
            print("told:", error.what)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert "told: could not write" in done.stdout, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_is_there_is_not_touched(model: Model, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "m")
    before = sha256_file(folder / "bundle.json")
    with pytest.raises(FileExistsError, match="m"):
        model.save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert sha256_file(folder / "bundle.json") == before


# ---- another form --------------------------------------------------------------------------------------------------


RUNTIME = '''
import json
import numpy as np
from danlu.contracts import Runtime

class Counting(Runtime):
    """Answers by the length of the text; stands for a runtime that needs no torch."""
    def export(self, module, calls, folder): (folder / "counting.json").write_text("[0.0, 1.0, 0.5]")
    def load(self, folder, torch_module): return Form(json.loads((folder / "counting.json").read_text()))

class Form:
    def __init__(self, row): self.row = np.array(row)
    def forward(self, inputs): return {"logits": inputs["attention_mask"].sum(1)[:, None] * self.row}
    def resume(self, examples): return None
'''


def test_another_form_needs_neither_torch_nor_transformers(strangers: None, model: Model, tmp_path: Path) -> None:
    runtime_file = tmp_path / "counting.py"
    runtime_file.write_text(RUNTIME)
    (entry,) = plugin.add_file(runtime_file)
    runtime: Runtime = plugin.load("runtimes", entry.name)()
    trained = model.save(tmp_path / "trained")
    bundle.save_form(
        tmp_path / "form", of=trained, runtime=runtime, write=lambda path: runtime.export(model.module, [], path)
    )
    assert not (tmp_path / "form" / "config.json").exists()
    plugin.entries("backbones")  # the index is made; a fresh process reads it
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from danlu import bundle
        from danlu.core import plugin
        plugin.add_file(Path({str(runtime_file)!r}))
        answer = bundle.load(Path({str(tmp_path / "form")!r}))(["amber basil"])[0]
        assert answer["label"] == "good", answer
        print([name for name in ("torch", "transformers", "peft", "sklearn") if name in sys.modules])
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    with pytest.raises(DataError, match="holds no torch module, only its counting form"):
        bundle.load_module(tmp_path / "form")


def test_a_form_that_fails_leaves_nothing(model: Model, tmp_path: Path) -> None:
    trained = model.save(tmp_path / "trained")

    def fail(path: Path) -> None:
        (path / "half").write_text("x")
        raise RuntimeError("the exporter broke")

    with pytest.raises(RuntimeError, match="the exporter broke"):
        bundle.save_form(tmp_path / "form", of=trained, runtime=plugin.load("runtimes", "torch")(), write=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["trained"]


# ---- several forms -------------------------------------------------------------------------------------------------


def test_forms(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "a" / "trained")
    model.save(tmp_path / "a" / "other")
    specs = {"trained": bundle.FormSpec(), "other": bundle.FormSpec(of="trained", exact=False, tolerance=0.05)}
    bundle.Forms.write(tmp_path / "a", specs, "other")
    forms = bundle.Forms.open(tmp_path / "a")
    assert (forms.names, forms.default) == (("trained", "other"), "other")
    assert forms.spec("other") == specs["other"]
    bundle.load(forms.folder("other"))
    forms.copy_to(tmp_path / "b", ["trained"])
    bundle.load(tmp_path / "b" / "trained")
    assert (tmp_path / "b/trained/model.safetensors").samefile(tmp_path / "a/trained/model.safetensors")
    with pytest.raises(DataError, match=r"no form 'int8'\n.*one of: trained, other"):
        forms.spec("int8")
    with pytest.raises(DataError, match="the form other is named, but it is not there"):
        bundle.Forms.write(tmp_path / "b", specs, "trained")
    shutil.rmtree(tmp_path / "a" / "other")
    with pytest.raises(DataError, match="the form other is named, but it is not there"):
        bundle.Forms.open(tmp_path / "a")


def test_forms_json_is_strict(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no forms\.json"):
        bundle.Forms.open(tmp_path)
    file = tmp_path / "forms.json"
    for text, told in {
        "{": "can't be read: Expecting",
        "[]": "is not as it was written: it must be a mapping",
        '{"forms": {}}': "is not as it was written: default: must be given",
        '{"default": "x", "forms": {"x": {"exact": "yes"}}}': "forms.x.exact: must be true or false, not 'yes'",
        '{"default": "x", "forms": {}, "form": 1}': "form: there is no such option; did you mean forms",
    }.items():
        file.write_text(text)
        with pytest.raises(DataError, match=rf"forms\.json: .*{told}.*\n.*get the model again"):
            bundle.Forms.open(tmp_path)
    (tmp_path / "forms.json").write_text('{"default": "../x", "forms": {"../x": {}}}')
    with pytest.raises(DataError, match="is not a plain path"):
        bundle.Forms.open(tmp_path)


@pytest.mark.parametrize("name", ["extra.pkl", "weights.pt", "pytorch_model.bin", "deep/notes.data"])
def test_a_pickle_beside_the_forms_is_refused(name: str, tiny_bert: Path, tmp_path: Path) -> None:
    make(tiny_bert).save(tmp_path / "m" / "trained")
    bundle.Forms.write(tmp_path / "m", {"trained": bundle.FormSpec()}, "trained")
    bundle.Forms.open(tmp_path / "m")
    file = tmp_path / "m" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match=rf"{name}: a pickled file lies among"):
        bundle.Forms.open(tmp_path / "m")


def test_the_families_of_the_bundle_are_those_of_the_contracts() -> None:
    assert {Backbone.family, Compressor.family, Runtime.family} < set(
        bundle.Part.model_fields["family"].annotation.__args__
    )


@pytest.mark.demo
def test_minilm_in_plain_transformers(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    minilm = make(Pretrained().folder())
    folder = minilm.save(tmp_path / "m")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ("A warm, funny and moving film.", "Ärger über 中文 …", "", "word " * 1000):
        given = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        inputs = minilm.processor.inputs(text, 256)
        assert given["input_ids"][0].tolist() == inputs["input_ids"].tolist()
        with torch.inference_mode():
            logits = theirs(**given).logits[0].numpy()
        ours = TorchForm(minilm.module).forward({name: array[None] for name, array in inputs.items()})["logits"][0]
        assert np.abs(logits - ours).max() <= 1e-6
