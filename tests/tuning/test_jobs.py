"""Trials in processes of their own: several at once, and one that is killed is counted and not the end."""

from __future__ import annotations

import json
import os
import signal

import pytest

import danlu
from danlu.core import runs
from danlu.core.artifact import Store
from danlu.tuning import jobs, space, trial

pytest.importorskip("optuna")

DIGITS = {
    "name": "tiny-digits",
    "steps": {
        "data": {"do": "prepare", "source": "digits", "task": "image_classification", "operators": ["drop_duplicates"]},
        "tuned": {"do": "finetune", "backbone": {"mlp": {"size": "tiny"}}, "steps": 300, "precision": "fp32"},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
    },
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Three candidates, two at once; the first that trains is killed. `(tuned, store, the pid that was killed, how many
    were under way whenever one was heard of)`."""
    folder, pids, at_once = tmp_path_factory.mktemp("jobs"), [], []
    hear = jobs.Jobs._hear
    store = Store(folder / "store")

    def kill(event):
        if event.kind != "progress" or event.data.get("steps", 0) < 1 or pids:
            return
        others = [
            run for run in runs.all_runs(store.runs) if run.status == "running" and run.record["pid"] != os.getpid()
        ]
        if others:
            pids.append(others[-1].record["pid"])
            os.kill(pids[0], signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(jobs.Jobs, "_hear", lambda self, worker: at_once.append(len(self.busy)) or hear(self, worker))
        tuned = danlu.tune(DIGITS, minutes=10, trials=3, jobs=2, store=store.path, listeners=[kill])
    return tuned, store, pids, at_once


def test_a_killed_trial_is_counted_and_the_others_go_on(killed):
    tuned, _, pids, _ = killed
    assert len(pids) == 1
    states = sorted(one["state"] for one in tuned.table() if one["role"] == "trial")
    assert (len(states), states.count("failed")) == (3, 1)
    [failed] = [one for one in tuned.table() if one["state"] == "failed"]
    assert "its process was killed by SIGKILL" in failed["note"]
    assert tuned.best["state"] == "done"
    assert sorted(one["number"] for one in tuned.table()) == [1, 2, 3, 4]


def test_two_are_under_way_at_once_in_other_processes(killed):
    _, store, pids, at_once = killed
    assert max(at_once) == 2
    begun = [run for run in runs.all_runs(store.runs) if run.record["pid"] != os.getpid()]
    assert len({run.record["pid"] for run in begun}) >= 2
    assert [run.record["pid"] for run in begun if run.status == "died"] == pids


def test_what_is_known_is_not_tried_again_by_one_process_either(killed, monkeypatch):
    tuned, store, *_ = killed
    monkeypatch.chdir(store.path.parent)
    heard = []
    again = danlu.tune(
        DIGITS, minutes=10, trials=3, store=store.path, listeners=[lambda e: heard.append(e.kind)],
    )  # fmt: skip
    assert "trial" not in heard
    assert [one["number"] for one in again.table()] == [one["number"] for one in tuned.table()]


class Channel:
    """The worker's end of the socket: what it said, and the tune's word on each look."""

    def __init__(self, go):
        self.said, self.go = [], go

    def send_bytes(self, packed):
        self.said.append(json.loads(packed))

    def recv_bytes(self):
        return json.dumps({"go": self.go}).encode()


def test_a_worker_asks_at_each_look_and_gives_up_what_will_not_end_in_time(tmp_path, monkeypatch):
    here = space.of(space.Ask(danlu.check(DIGITS)))
    overrides = [*here.overrides(here.first()[0], 1200), "tuned.evaluate_every=5"]
    store, pruned = Store(tmp_path / "store"), Channel(go=False)
    made = jobs._tried(here, store, None, {"overrides": overrides, "left": 1e6}, pruned)
    assert made["outcome"]["state"] == "pruned"
    assert [said["look"][0] for said in pruned.said if "look" in said] == [0]
    monkeypatch.setattr(trial, "_SURE", 0.0)
    late = jobs._tried(here, store, None, {"overrides": overrides, "left": 0.0}, Channel(go=True))
    assert late["halted"] > 0


def test_a_worker_ends_its_trial_when_the_tune_is_gone(tmp_path):
    here, store, gone = space.of(space.Ask(danlu.check(DIGITS))), Store(tmp_path / "store"), Channel(go=True)
    gone.send_bytes = lambda packed: (_ for _ in ()).throw(BrokenPipeError)
    with pytest.raises(KeyboardInterrupt):
        jobs._tried(here, store, None, {"overrides": ["tuned.steps=100000"], "left": 1e6}, gone)
    assert runs.all_runs(store.runs)[0].status == "interrupted"
