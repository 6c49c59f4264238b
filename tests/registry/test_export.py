import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from danlu import bundle
from danlu.blocks.portable import Piece, piece, script
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.registry import export as exporting
from danlu.registry.export import export
from danlu.registry.store import Registry

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("danlu", "torch", "transformers", "onnx", "pydantic"):
            raise ImportError(f"{name} may not be imported")

sys.meta_path.insert(0, Blocker())
import runpy
sys.argv = ["answer.py", *sys.argv[2:]]
sys.path[:] = [p for p in sys.path if not p.endswith("src")]
runpy.run_path("answer.py", run_name="__main__")
"""


def answer(folder, *arguments):
    """Run the exported script where neither danlu nor torch can be imported."""
    command = [sys.executable, "-I", "-c", BLOCKED, "answer.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def digits(digits_run):
    registry = Registry(digits_run.store.path)
    version = registry.resolve("digits")
    return version, registry.open(version)


def test_pictures_answer_without_danlu(digits, tmp_path):
    told = export(*digits, tmp_path / "out")
    assert told["form"] == "int8"
    done = answer(tmp_path / "out", "--check")
    assert done.returncode == 0, done.stderr
    assert "8 answers, at most" in done.stdout
    sample = json.loads((tmp_path / "out/sample.json").read_text())
    assert {one["answer"]["label"] for one in sample} <= set(map(str, range(10)))
    requirements = (tmp_path / "out/requirements.txt").read_text().split()
    assert [need.partition("==")[0] for need in requirements] == ["numpy", "onnxruntime", "pillow"]


def test_a_wrong_answer_fails_the_check(digits, tmp_path):
    export(*digits, tmp_path / "out", form="onnx")
    path = tmp_path / "out/sample.json"
    sample = json.loads(path.read_text())
    sample[3]["answer"]["confidence"] -= 2e-5
    path.write_text(json.dumps(sample))
    assert answer(tmp_path / "out", "--check").returncode == 1
    sample[3]["answer"]["confidence"] += 2e-5
    sample[3]["answer"]["label"] = "other"
    path.write_text(json.dumps(sample))
    assert answer(tmp_path / "out", "--check").returncode == 1


def test_every_kind_of_picture_is_read_as_the_registry_does(digits, tmp_path):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 255, (31, 17, 4), dtype=np.uint8), "RGBA")
    turned = Image.Exif()
    turned[274] = 6
    colours.save(tmp_path / "clear.png")
    colours.convert("RGB").save(tmp_path / "turned.jpg", exif=turned)
    colours.convert("P").save(tmp_path / "palette.gif")
    colours.convert("1").save(tmp_path / "one_bit.png")
    Image.fromarray(rng.integers(0, 65535, (20, 20), dtype=np.uint16)).save(tmp_path / "deep.png")
    export(*digits, tmp_path / "out")
    paths = sorted(str(path) for path in tmp_path.iterdir() if path.is_file())
    done = answer(tmp_path / "out", *paths)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    forms = bundle.Forms.open(digits[1])
    expected = bundle.load(forms.folder(forms.default))(paths)
    assert [one["scores"] for one in told] == [pytest.approx(one["scores"], abs=1e-5) for one in expected]


def test_texts_answer_without_danlu(tiny_bert, tmp_path):
    from danlu import run

    steps = {
        "data": {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 80}}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": {"pretrained": {"model": str(tiny_bert)}}, "epochs": 1},
        "small": {"do": "compress", "by": ["int8"], "budget": {"max_drop": {"accuracy": 1.0}}},
        "ship": {"do": "publish"},
    }
    store = tmp_path / "store"
    run({"name": "words", "steps": steps}, store=store, trackers=[])
    registry = Registry(store)
    version = registry.resolve("words@1")
    export(version, registry.open(version), tmp_path / "out")
    assert answer(tmp_path / "out", "--check").returncode == 0
    asked = ["", "好 the " * 400, "One day.", "a\ud83db", " \n"]
    asked = [text.encode("utf-8", "replace").decode() for text in asked]
    done = answer(tmp_path / "out", "--", *asked)
    assert done.returncode == 0, done.stderr
    forms = bundle.Forms.open(registry.open(version))
    expected = bundle.load(forms.folder("int8"))(asked)
    told = [json.loads(line)["scores"] for line in done.stdout.splitlines()]
    assert told == [pytest.approx(one["scores"], abs=1e-5) for one in expected]
    lines = [line for line in (tmp_path / "out/answer.py").read_text().splitlines() if line.strip()]
    assert len(lines) < 80
    assert not any("type: ignore" in line or "noqa" in line for line in lines)


def test_several_labels_are_answered_as_by_the_task():
    import numpy as np

    from danlu.plugins.tasks.text_multilabel_classification import TextMultilabelClassification

    task = TextMultilabelClassification(labels=("a", "b", "c"), threshold=0.4)
    names = {}
    exec(task.portable().sources[0].read_text(), names)
    for logits in ([0.0, -0.5, 900.0], [-900.0, -0.4, 2.0]):
        outputs = {"logits": np.array(logits, np.float32)}
        assert names["answer"](outputs, task.portable().settings) == task.decode("x", [], [outputs], None)


@pytest.mark.proof
def test_in_a_fresh_environment(digits, tmp_path):
    """150 MB of installs, the first answer within a second; needs the package index."""
    export(*digits, tmp_path / "out")
    script = Path(__file__).parents[2] / "benchmarks" / "export_start.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_an_onnx_form_can_be_exported(digits, moods_run, tmp_path):
    with pytest.raises(RecipeError, match="the form trained is not one ONNX graph") as raised:
        export(*digits, tmp_path / "out", form="trained")
    assert raised.value.do == "--form onnx"
    registry = Registry(moods_run)
    version = registry.resolve("moods")
    with pytest.raises(RecipeError, match="the form trained is not one ONNX graph") as raised:
        export(version, registry.open(version), tmp_path / "out")
    assert "compress" in raised.value.do
    with pytest.raises(DataError, match="there is no form 'odd'"):
        export(*digits, tmp_path / "out", form="odd")
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_does_not_say_how_is_refused(digits, tmp_path, monkeypatch):
    from danlu.plugins.tasks.image_classification import ImageClassification

    monkeypatch.delattr(ImageClassification, "portable")
    with pytest.raises(RecipeError, match="ImageClassification does not say how it works outside Danlu"):
        export(*digits, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(digits, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path in (target, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(RecipeError, match="not an empty folder"):
            export(*digits, path)
    assert [path.name for path in target.iterdir()] == ["mine"]
    (target / "mine").unlink()
    export(*digits, target)
    assert (target / "answer.py").is_file()


def test_nothing_half_written_is_left(digits, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(MachineError, match="could not write"):
        export(*digits, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_strangers_piece_goes_into_the_script(tmp_path):
    own = tmp_path / "own.py"
    own.write_text('"""Mine."""\n\nimport math\n\n\ndef answer(outputs, settings):\n    return math.pi\n')
    text = script("Doc.", [Piece((piece("tokens"),)), Piece((own, piece("read_plain")))])
    assert text.startswith('"""Doc."""\n\nimport argparse\nimport json\nimport math\nimport sys\n')
    assert text.count("def answer") == text.count("def read(") == text.count("class Inputs") == 1
    assert '"""Mine."""' not in text
    compile(text, "answer.py", "exec")


def test_the_figures_of_needs_are_those_installed(digits, tmp_path):
    from importlib.metadata import version

    assert f"onnxruntime=={version('onnxruntime')}" in exporting.export(*digits, tmp_path / "out")["needs"]
