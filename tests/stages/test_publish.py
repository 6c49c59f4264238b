import json
import subprocess
import sys
from pathlib import Path

import pytest

from danlu import recipe
from danlu.core.artifact import Store
from danlu.core.errors import DataError, GateError, RecipeError, RecipeFaults
from danlu.registry.store import Registry
from danlu.stages.publish import Publish

sys.path.insert(0, str(Path(__file__).parent))
from publishing import interval, line, publish

SCRIPT = Path(__file__).with_name("publishing.py")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def registry(store):
    return Registry(store.path)


def stage(**options):
    return Publish(**({"name": "reviews", "alias": "production"} | options))


# ---- what it makes -------------------------------------------------------------------------------------------------


def test_the_first_version(store, registry):
    said = []
    made = publish(store, stage(why="first try"), line(store), said)
    assert made.json("version.json") | {"digest": ""} == {
        "reference": "reviews@1", "name": "reviews", "number": 1, "digest": "", "alias": "production",
    }  # fmt: skip
    version = registry.resolve("reviews")
    assert (version.number, made.json("version.json")["digest"]) == (1, version.digest)
    assert set(version.files) == {"forms.json", "trained/bundle.json", "int8/bundle.json"}
    assert registry.aliases("reviews") == {"production": 1}
    assert [entry.why for entry in registry.audit()] == ["first try", "first try"]
    assert "# reviews@1" in made.file("card.md").read_text()
    assert "reviews@1" in made.file("card.html").read_text()
    assert "published reviews@1" in said[-1].data["text"]
    assert not list((store.path / "work").iterdir())


def test_without_an_alias_none_is_moved(store, registry):
    publish(store, stage(), line(store))
    publish(store, stage(alias=None), line(store, "second"))
    publish(store, stage(alias="staging"), line(store, "third"))
    assert registry.aliases("reviews") == {"production": 1, "staging": 3}


def test_equal_content_keeps_its_version(store, registry):
    said = []
    publish(store, stage(), line(store))
    made = publish(store, stage(why="once more"), line(store), said)
    assert made.json("version.json")["number"] == 1
    assert "has this content already, byte for byte" in said[-1].data["text"]
    assert len(registry.versions()) == 1
    publish(store, stage(), line(store, "second"))
    publish(store, stage(), line(store))
    assert registry.aliases("reviews") == {"production": 1}, "what was asked for now is what counts"


def warnings(said):
    return [event.data["text"] for event in said if event.kind == "warning"]


def test_other_labels_than_the_version_before_are_told(store, registry):
    """Callers hold on to the alias, and to what it answered; the model is published all the same."""
    said = []
    publish(store, stage(), line(store), said)
    publish(store, stage(), line(store, "same labels, another order", labels=["good", "bad"]), said)
    assert not warnings(said)
    made = publish(store, stage(), line(store, "third", labels=["good", "mixed"]), said)
    (warning,) = warnings(said)
    assert "reviews@3 answers with other labels than reviews@2: gained mixed; lost bad. Callers that rely" in warning
    assert made.manifest["notes"] == [warning]
    assert registry.aliases("reviews") == {"production": 3}
    publish(store, stage(alias=None), line(store, "fourth", labels=["bad", "good"]), said)
    assert "reviews@4 answers with other labels than reviews@3: gained bad; lost mixed" in warnings(said)[-1]
    publish(store, stage(), line(store), said)
    assert "reviews@1 answers with other labels than reviews@3: gained bad; lost mixed" in warnings(said)[-1]
    publish(store, stage(), line(store, "without labels", labels=[]), said)
    assert "none in place of bad, good" in warnings(said)[-1]


def test_the_card_tells_what_was_recorded(store):
    options = {"require": {"accuracy": ">= 0.8"}, "description": "For reviews only.", "licence": "MIT"}
    card = publish(store, stage(**options), line(store)).file("card.md").read_text()
    for told in ("For reviews only.", "Licence of this model: MIT", "accuracy \\>= 0.8", "0.900 (0.890–0.910)",
                 "majority (baseline)", "Something to know.", "| lr.highest | 5e-05 |", "minilm", "Apache-2.0", "2.0e-02",
                 "Measured on 200 test rows", "Licence: MIT"):  # fmt: skip
        assert told in card, told
    for invented in ("1_p95", "0.7]]", "None", "nan"):
        assert invented not in card


def test_the_card_does_not_tell_what_was_not_measured(store):
    card = publish(store, stage(), {"model": line(store)["model"]}).file("card.md").read_text()
    assert "Not recorded." in card
    assert "not compared with baselines" in card
    assert "Measured on" not in card
    assert "Latency was measured" not in card


# ---- gates ---------------------------------------------------------------------------------------------------------


def refused(store, registry, stage, inputs, match, error=GateError):
    with pytest.raises(error, match=match) as told:
        publish(store, stage, inputs)
    assert registry.versions() == []
    assert registry.audit() == []
    assert not (store.path / "artifacts" / ("f" * 64)).exists()
    return str(told.value)


@pytest.mark.parametrize("bound", [">= 0.9", "> 0.8", "<= 0.9", "< 1", ">=0.9"])
def test_a_requirement_that_holds(store, bound):
    publish(store, stage(require={"accuracy": bound}), line(store))


@pytest.mark.parametrize("bound", [">= 0.901", "> 0.9", "<= 0.8", "< 0.9"])
def test_a_requirement_that_is_missed_names_every_form(store, registry, bound):
    told = refused(store, registry, stage(require={"accuracy": bound}), line(store), "accuracy of the form trained is")
    assert all(f"accuracy of the form {form} is 0.9000, not {bound}" in told for form in ("trained", "int8", "http"))


def test_one_form_is_enough_to_miss_it(store, registry):
    low = {"of": "trained", "metrics": {"accuracy": interval(0.7)}, "passed": True, "size_mb": None, "latency_ms": {}}
    distances = dict.fromkeys(("distance_max", "distance_p99", "tolerance", "changed_share"), 0.0)
    inputs = line(store, forms={"int8": low | distances})
    told = refused(store, registry, stage(require={"accuracy": ">= 0.8"}), inputs, "the form int8 is 0.7000")
    assert "trained" not in told


def test_what_was_not_measured_can_not_be_required(store, registry):
    require = {"roc_auc": ">= 0.5"}
    refused(store, registry, stage(require=require), line(store), "roc_auc was not measured on the form trained")
    refused(store, registry, stage(require={"confusion": ">= 0"}), line(store), "confusion .* has no single number")
    alone = {"model": line(store)["model"]}
    refused(store, registry, stage(require=require), alone, r"nothing was measured; add a step \{do: verify\}")


def test_a_metric_of_files_is_not_required_of_the_served_form_which_has_none(store, registry):
    parity = line(store)["parity"].json("parity.json")
    http, low = parity["forms"]["http"], parity["forms"]["int8"]
    del http["metrics"]["size"]
    inputs = line(store, forms={"http": http})
    refused(store, registry, stage(require={"size": "< 1"}), inputs, "size of the form trained is 1.5000, not < 1")
    del low["metrics"]["size"]
    told = refused(store, registry, stage(require={"size": "< 2"}), line(store, forms={"http": http, "int8": low}),
                   "size was not measured on the form int8")  # fmt: skip
    assert "http" not in told
    publish(store, stage(require={"size": "< 2"}), inputs)


def test_without_verify_the_evaluated_form_is_what_counts(store, registry):
    inputs = line(store)
    del inputs["parity"]
    refused(store, registry, stage(require={"accuracy": "> 0.95"}), inputs, "accuracy of the form int8 is 0.9000")
    publish(store, stage(require={"accuracy": "> 0.85"}), inputs)


def test_a_form_that_did_not_pass_or_was_not_verified(store, registry):
    told = {"of": "trained", "metrics": {}, "passed": False}
    refused(store, registry, stage(), line(store, forms={"int8": told}), "the form int8 did not pass")
    inputs = line(store)
    names = inputs["parity"].json("parity.json")["forms"]
    with pytest.raises(GateError, match="the form merged was not verified"):
        stage().check_gates(None, {"forms": names}, ("trained", "merged", "int8"))


def test_what_another_model_scored_is_refused(store, registry):
    inputs, other = line(store), line(store, "second")
    match = "the step same measured the model of small, and another one would be published"
    told = refused(store, registry, stage(), inputs | {"parity": other["parity"]}, match)
    assert "same.model='$small'" in told
    refused(
        store, registry, stage(), inputs | {"scores": other["scores"]}, "the step score measured the model of small"
    )


def test_an_alias_moved_meanwhile_is_told_and_not_overwritten(store, registry, monkeypatch):
    publish(store, stage(), line(store))
    publish(store, stage(alias=None), line(store, "second"))
    published = Registry.publish

    def slow(self, *arguments, **options):
        version = published(self, *arguments, **options)
        registry.move("reviews", "production", to=2, actor="ann", why="urgent")
        return version

    monkeypatch.setattr(Registry, "publish", slow)
    with pytest.raises(GateError, match=r"expected reviews@1, found reviews@2; ann moved it at .* urgent"):
        publish(store, stage(), line(store, "third"))
    assert registry.aliases("reviews") == {"production": 2}
    monkeypatch.undo()
    assert publish(store, stage(), line(store, "third")).json("version.json")["number"] == 3
    assert registry.aliases("reviews") == {"production": 3}


@pytest.mark.parametrize(
    ("options", "match"),
    [({"name": "My Reviews"}, "'My Reviews' is not a valid model name"), ({"alias": "a" * 65}, "is not a valid alias")],
)
def test_bad_names_are_refused_before_anything_is_stored(store, registry, options, match):
    refused(store, registry, stage(**options), line(store), match, RecipeError)


def test_a_damaged_model_is_not_published(store, registry):
    inputs = line(store)
    inputs["model"].file("int8/bundle.json").unlink()
    with pytest.raises((DataError, FileNotFoundError), match=r"int8/bundle\.json|No such file"):
        publish(store, stage(), inputs)
    assert registry.versions() == []


@pytest.mark.parametrize(
    ("options", "where"),
    [({"alias": "3"}, "ship.alias"), ({"alias": "Prod"}, "ship.alias"), ({"require": {"accuracy": "0.9"}}, "ship.require.accuracy")],
)  # fmt: skip
def test_a_recipe_is_told_before_hours_of_training(options, where):
    steps = {"data": {"do": "prepare", "source": "digits", "task": "image_classification"},
             "tuned": {"do": "finetune", "backbone": "cnn"}, "ship": {"do": "publish", **options}}  # fmt: skip
    with pytest.raises(RecipeFaults) as told:
        recipe.load({"name": "reviews", "steps": steps})
    assert [fault.where for fault in told.value.faults] == [where]


# ---- is it still so? -----------------------------------------------------------------------------------------------


def test_a_rollback_since_then_is_noticed(store, registry):
    first = publish(store, stage(), line(store))
    second = publish(store, stage(), line(store, "second"), key="e" * 64)
    assert stage().still(second, store.path)
    assert not stage().still(first, store.path)
    assert stage(alias=None).still(first, store.path)
    registry.rollback("reviews")
    assert not stage().still(second, store.path)
    assert stage().still(first, store.path)


def test_a_lost_registry_is_noticed(store):
    made = publish(store, stage(), line(store))
    (store.path / "registry.db").unlink()
    assert not stage().still(made, store.path)


# ---- several at once, and killed ones ------------------------------------------------------------------------------


def start(store, text, key, stop_at=0):
    arguments = [sys.executable, str(SCRIPT), str(store.path), text, key, str(stop_at)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once(store, registry):
    """Both versions are there without a gap; at most one of them finds that the other moved the alias first."""
    processes = [start(store, text, key * 64) for text, key in (("first", "1"), ("second", "2"))]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 in codes
    assert [error for code, error in zip(codes, errors) if code and "GateError" not in error] == []
    assert sorted(version.number for version in registry.versions("reviews")) == [1, 2]
    assert registry.aliases("reviews")["production"] in (1, 2)
    assert registry.check_audit() >= 3


def test_killed_at_any_moment_it_leaves_nothing_half(tmp_path):
    out, err = (process := start(Store(tmp_path / "whole"), "first", "1" * 64)).communicate(timeout=120)
    assert process.returncode == 0, err
    moments = int(out)
    assert moments > 10
    published = []
    for moment in range(1, moments + 1, moments // 4):
        store = Store(tmp_path / str(moment))
        process = start(store, "first", "1" * 64, moment)
        process.communicate(timeout=120)
        assert process.returncode == -9
        registry = Registry(store.path)
        published.append(len(registry.versions()))
        for version in registry.versions():
            registry.verify(version)
        publish(store, stage(), line(store))
        assert [v.number for v in registry.versions()] == [1]
        assert registry.aliases("reviews") == {"production": 1}
    assert set(published) == {0, 1}, "some were killed before the version was there, some after"


def test_publishing_imports_no_model_library(store):
    program = (
        "import sys; sys.argv[1:] = [sys.argv[1], 'first', '1' * 64, '0']; import runpy; "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__'); "
        "print([m for m in ('torch', 'transformers', 'onnxruntime', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(store.path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
