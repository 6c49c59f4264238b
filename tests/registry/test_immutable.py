"""No operation of API, store or database changes a version (R4); a state machine against a model of what must be so."""

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from danlu.core.errors import DanluError
from danlu.registry.lineage import lineage
from danlu.registry.store import Registry

names = st.sampled_from(["a", "b"])
contents = st.integers(0, 5)
numbers = st.integers(1, 4)
STATEMENTS = [
    "UPDATE versions SET metadata = '{\"n\": 99}'",
    "UPDATE versions SET digest = printf('%064d', number)",
    "UPDATE versions SET manifests = '[]', number = number + 1",
    "UPDATE files SET sha256 = printf('%064d', 1)",
    "UPDATE OR REPLACE files SET path = 'bundle.json'",
    "UPDATE audit SET after = 1",
    "DELETE FROM versions",
    "DELETE FROM files WHERE number = 1",
    "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
    "INSERT OR REPLACE INTO versions SELECT name, number, digest, published, '{}', manifests, seal FROM versions",
    "INSERT OR REPLACE INTO files SELECT name, number, path, printf('%064d', 7), size FROM files",
    "INSERT INTO files SELECT name, number, path || '.more', sha256, size FROM files",
    "REPLACE INTO audit SELECT id, at, 'eve', action, name, alias, before, after, why, seal FROM audit",
]


class Registered(RuleBasedStateMachine):
    """Whatever is done, every version that was ever published reads back as it was published."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.registry = Registry(self.folder / "store")
        self.known = {}

    def teardown(self):
        for place, _, _ in os.walk(self.folder):
            Path(place).chmod(0o755)
        shutil.rmtree(self.folder)

    def model(self, content):
        folder = self.folder / f"model{content}"
        folder.mkdir(exist_ok=True)
        (folder / "bundle.json").write_text(json.dumps({"content": content}))
        (folder / "shared.txt").write_text("the same in all")
        return folder

    @rule(name=names, content=contents, note=st.integers(0, 9))
    def publish(self, name, content, note):
        manifests = [
            {"key": "k", "digest": "d", "kind": "model", "step": f"s{note}", "stage": "x", "inputs": {}, "settings": {}}
        ]
        version = self.registry.publish(name, self.model(content), metadata={"n": note}, manifests=manifests)
        there = self.known.get((name, version.number))
        assert version.created == (there is None)
        if version.created:
            files = {path: (self.model(content) / path).read_bytes() for path in version.files}
            self.known[name, version.number] = (version.digest, {"n": note}, lineage(version), files)

    @rule(name=names, number=numbers, expect=st.none() | numbers)
    def move(self, name, number, expect):
        with suppress(DanluError):
            self.registry.move(name, "production", to=number, expect=expect)

    @rule(name=names)
    def rollback(self, name):
        with suppress(DanluError):
            self.registry.rollback(name)

    @rule()
    def clean(self):
        self.registry.clean()

    @rule(statement=st.sampled_from(STATEMENTS))
    def sql(self, statement):
        if not self.registry.database.path.exists():
            return
        with closing(sqlite3.connect(self.registry.database.path)) as database, suppress(sqlite3.Error):
            database.execute(statement)
            database.commit()

    @rule(name=names, number=numbers)
    def edit_what_was_returned(self, name, number):
        with suppress(DanluError):
            version = self.registry.version(name, number)
            version.metadata["n"] = 99
            version.manifests.clear()
            version.files.clear()

    @rule(content=contents)
    def change_the_published_folder(self, content):
        """Its files are copied in, so the publisher may do with them what he likes."""
        (self.model(content) / "bundle.json").write_text("[]")

    @invariant()
    def every_version_is_as_it_was_published(self):
        for (name, number), (digest, metadata, tree, files) in self.known.items():
            version = self.registry.version(name, number)
            assert (version.digest, version.metadata, lineage(version)) == (digest, metadata, tree)
            folder = self.registry.open(version)
            assert {path: (folder / path).read_bytes() for path in version.files} == files
        if self.known:
            self.registry.check_audit()


QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def test_no_operation_changes_a_version():
    run_state_machine_as_test(
        Registered,
        settings=settings(max_examples=4, stateful_step_count=20, deadline=None, suppress_health_check=QUIET),
    )


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_10000_operations():
    run_state_machine_as_test(
        Registered,
        settings=settings(max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=QUIET),
    )


def test_planted_artifact_upload_is_seen(monkeypatch):
    """Were a version's record replaced when its content is published again, as some registries allow, it is seen."""
    real = Registry.publish

    def upload(self, name, folder, *, metadata, **others):
        version = real(self, name, folder, metadata=metadata, **others)
        if not version.created:
            with closing(sqlite3.connect(self.database.path)) as database:
                database.execute("DROP TRIGGER IF EXISTS versions_no_update")
                database.execute("UPDATE versions SET metadata = ?", (json.dumps(metadata),))
                database.commit()
        return version

    monkeypatch.setattr(Registry, "publish", upload)
    with pytest.raises(Exception, match=r"not as it was written|assert"):
        run_state_machine_as_test(
            Registered,
            settings=settings(max_examples=60, stateful_step_count=25, deadline=None, database=None,
                              suppress_health_check=QUIET, report_multiple_bugs=False,
                              phases=[Phase.generate]),  # the smallest example would take minutes to find
        )  # fmt: skip
