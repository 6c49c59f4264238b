"""Hand-made artifacts to publish, and a process that publishes them and may be killed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from danlu.core.artifact import Store
from danlu.core.events import Events
from danlu.stages.publish import Publish


def interval(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half, "parts": {"labels": {"a": value}}}


def artifact(store, kind, step, files, *, stage="", settings=None, numbers=None, **inputs):
    """An artifact with these files (JSON where they are not text), made from others."""
    told = {
        n: {"key": a.key, "digest": a.digest, "kind": a.kind, "step": a.manifest["step"]} for n, a in inputs.items()
    }
    about = {"kind": kind, "step": step, "stage": stage or kind, "settings": settings or {}, "inputs": told}
    key = hashlib.sha256(json.dumps([about, files], sort_keys=True).encode()).hexdigest()
    with store.lock(key):
        if found := store.find(key):
            return found
        draft = store.draft(key, **about)
        for name, content in files.items():
            path = draft.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        draft.numbers.update(numbers or {})
        return draft.commit()


def line(store, text="first", **changes):
    """What comes before a publish step: `{model, scores, parity}` of a trained and an int8 form."""
    forms = ("trained", "int8")
    dataset = artifact(store, "dataset", "data", {"dataset.json": {
        "task": {"text_classification": {"text": "t", "label": "l", "labels": changes.get("labels", ["bad", "good"])}},
        "rows": {"train": 700, "validation": 100, "test": 200}, "digests": {"train": "a" * 64, "test": "b" * 64},
        "source": {"asset": {"name": "movie-snippets"}, "fingerprint": "c" * 64},
    }}, stage="prepare", settings={"source": {"asset": {"name": "movie-snippets"}}, "seed": 0})  # fmt: skip
    tuned = artifact(
        store, "model", "tuned", {"trained/bundle.json": {"text": text}}, stage="finetune",
        settings={"backbone": {"pretrained": {"model": "asset:minilm"}}, "epochs": 2.0, "seed": 0},
        numbers={"epochs": 2.0, "lr": {"highest": 5e-5}, "loss": [[1, 0.7]]}, dataset=dataset,
    )  # fmt: skip
    small = artifact(
        store, "model", "small",
        {"forms.json": {"default": "int8", "forms": {"trained": {}, "int8": {"of": "trained"}}},
         **{f"{form}/bundle.json": {"text": text, "form": form} for form in forms}},
        stage="compress", settings={"by": [{"int8": {}}], "seed": 0}, dataset=dataset, model=tuned,
    )  # fmt: skip
    measured = {"accuracy": interval(0.9), "confusion": {"value": None, "low": None, "high": None, "parts": {}},
                "size": {"value": 1.5, "low": None, "high": None, "parts": {}}}  # fmt: skip
    cost = {"size_mb": 1.5, "latency_ms": {"1": 2.0, "1_p95": 2.5, "32": 1.0}}
    baseline = {"metrics": {"accuracy": interval(0.5)}, "seconds": 1.0, **cost}
    scores = artifact(store, "scores", "score", {"scores.json": {
        "form": "int8", "rows": 200, "metrics": measured, "baselines": {"majority": baseline},
        "warnings": ["Something to know."], **cost,
    }, "report.html": "<p>report</p>"}, stage="evaluate", settings={"seed": 0}, dataset=dataset, model=small)  # fmt: skip
    far = {"distance_max": 0.02, "distance_p99": 0.01, "tolerance": 0.05, "changed": 1, "changed_share": 0.005}
    near = dict.fromkeys(far)
    parity = artifact(store, "parity", "same", {"parity.json": {
        "rows": 200, "default": "int8", "forms": {
            name: {"of": of, "metrics": measured, "passed": True, **(far if of else near), **cost}
            for name, of in (("trained", None), ("int8", "trained"), ("http", "int8"))
        } | changes.get("forms", {}),
    }}, stage="verify", settings={"seed": 0}, dataset=dataset, model=changes.get("measured", small))  # fmt: skip
    return {"model": small, "scores": scores, "parity": parity}


def publish(store, stage, inputs, said=None, key="f" * 64):
    """The artifact of the stage; nothing is left of it when it raises."""
    told = {
        n: {"key": a.key, "digest": a.digest, "kind": a.kind, "step": a.manifest["step"]} for n, a in inputs.items()
    }
    settings = {name: value for name, value in stage.model_dump().items() if value is not None}
    draft = store.draft(key, kind="version", step="ship", stage="publish", settings=settings, inputs=told)
    try:
        stage.run(inputs, draft, Events([said.append] if said is not None else []))
    except BaseException:
        draft.abandon()
        raise
    return draft.commit()


def main(folder, text, key, stop_at):
    """Publish in a process of its own, which dies before the `stop_at`-th file is made durable (0: it lives)."""
    store, count, fsync = Store(Path(folder)), 0, os.fsync

    def counted(handle):
        nonlocal count
        count += 1
        if count == int(stop_at):
            os.kill(os.getpid(), 9)
        fsync(handle)

    inputs = line(store, text)
    os.fsync = counted
    publish(store, Publish(name="reviews", alias="production"), inputs, key=key)
    print(count)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
