import json

import pytest

from danlu.registry.lineage import lineage, steps


def manifest(step, stage, kind, inputs):
    """As `core.artifact` writes it, in the parts that matter here."""
    told = {name: {key: source[key] for key in ("key", "digest", "kind", "step")} for name, source in inputs.items()}
    return {
        "step": step, "stage": stage, "kind": kind, "key": f"key-{step}", "digest": f"digest-{step}", "inputs": told,
        "settings": {"seed": 0}, "numbers": {}, "files": {"a": {"sha256": "x", "size": 1}}, "created": "2026-01-01T00:00:00Z",
    }  # fmt: skip


DATA = manifest("data", "prepare", "data", {})
TUNED = manifest("tuned", "finetune", "model", {"data": DATA})
SMALL = manifest("small", "compress", "model", {"model": TUNED, "data": DATA})
SCORE = manifest("score", "evaluate", "scores", {"model": SMALL, "data": DATA})
ALL = [SCORE, SMALL, DATA, TUNED]


@pytest.fixture
def version(registry, model):
    return lambda manifests: registry.publish("reviews", model(), metadata={"recipe": "name: x"}, manifests=manifests)


def test_from_the_recipe_to_the_weights(version):
    published = version(ALL)
    tree = lineage(published)
    assert (tree["kind"], tree["name"], tree["digest"]) == ("version", "reviews@1", published.digest)
    assert tree["facts"]["recipe"] == "name: x"
    assert tree["facts"]["files"]["model.safetensors"]["sha256"] == published.files["model.safetensors"].sha256
    score = tree["inputs"]["score"]
    small = score["inputs"]["model"]
    tuned = small["inputs"]["model"]
    data = tuned["inputs"]["data"]
    assert [node["name"] for node in (score, small, tuned, data)] == ["score", "small", "tuned", "data"]
    assert (tuned["kind"], tuned["digest"]) == ("model", "digest-tuned")
    assert tuned["facts"] == {k: v for k, v in TUNED.items() if k not in ("kind", "step", "digest", "inputs")}
    assert small["inputs"]["data"] == {
        "kind": "data",
        "name": "data",
        "digest": "digest-data",
        "inputs": {},
        "again": True,
    }
    assert json.loads(json.dumps(tree)) == tree


def test_steps_come_after_what_they_were_made_from(version):
    assert [node["name"] for node in steps(version(ALL))] == ["data", "tuned", "small", "score"]


def test_a_manifest_that_was_not_stored_is_said_to_be_missing(version):
    published = version([SCORE, SMALL])
    small = lineage(published)["inputs"]["score"]["inputs"]["model"]
    assert small["inputs"]["model"] == {
        "kind": "model", "name": "tuned", "digest": "digest-tuned", "inputs": {}, "missing": True,
    }  # fmt: skip
    assert [node["name"] for node in steps(published)] == ["tuned", "data", "small", "score"]


def test_a_version_without_manifests(version):
    published = version([])
    assert lineage(published)["inputs"] == {}
    assert steps(published) == []


def test_it_survives_the_artifacts(version, registry):
    published = version(ALL)
    assert lineage(registry.resolve("reviews@1")) == lineage(published)
