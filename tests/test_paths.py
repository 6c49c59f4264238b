"""No parameter leads out of its folder (S6): known strings and generated ones, on everything that takes a name."""

import io
import itertools
import json
import os
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danlu.bundle import Forms, FormSpec
from danlu.core.artifact import Store
from danlu.core.digests import files_digest
from danlu.core.errors import DanluError
from danlu.core.files import safe_join, sha256_bytes
from danlu.registry.archive import take_in, write
from danlu.registry.store import Registry

UPS = ["../", "..\\", "%2e%2e/", "%2e%2e%2f", "..%2f", "..%5c", "%252e%252e%252f", "..;/", "....//", "..//", "..\0/",
       "．．/", "..%c0%af", "‥/", "/../", "./../", "a/../../", "\u202e../", "..%00/", "~/"]  # fmt: skip
TARGETS = ["secret.json", "etc/passwd", "secret.json#x", "secret.json?x", "secret.json\0.txt", "secret.json%00.json",
           "bundle.json", ".", "secret.json/."]  # fmt: skip
WHOLE = ["/etc/passwd", "//etc/passwd", "file:///etc/passwd", "file:/etc/passwd", "C:\\Windows\\win.ini", "\\\\host\\share",
         "~", "~root", "", ".", "..", "...", "/", "//", "\0", "a\nb", "a\rb", "CON", "nul", "aux.json", "a:b", "a|b", "$HOME",
         "${HOME}", "`id`", "$(id)", "a;b", "a&b", "x" * 5000, "\ud800", "-rf", "--help", "a@1", "@", "a@", "@1", "a@../b"]  # fmt: skip
KNOWN = [*WHOLE, *(up * n + target for up, target, n in itertools.product(UPS, TARGETS, (1, 3)))]

_watching = []


def _hook(event, arguments):
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink") and _watching and arguments:
        root, escapes = _watching[-1]
        if event == "os.remove" and arguments[1] >= 0:
            return  # relative to a folder that is open already, as when a tree is removed
        if event == "open" and arguments[1] is None and "/" not in str(arguments[0]):
            return  # the same
        for path in arguments[:2]:
            if isinstance(path, str | bytes | os.PathLike):
                place = os.path.realpath(os.fsdecode(path))
                if place.endswith(("passwd", "secret.json", "win.ini")) and not place.startswith(root):
                    escapes.append((event, place))


sys.addaudithook(_hook)


class Place:
    """A registry and a store with something in them, below a folder with a secret."""

    def __init__(self, folder):
        self.outside, self.folder = folder, folder / "store"
        (folder / "secret.json").write_text('{"secret": 1}')
        model = folder / "model"
        (model / "trained").mkdir(parents=True)
        (model / "trained/bundle.json").write_text("{}")
        self.forms = Forms.write(model, {"trained": FormSpec()}, "trained")
        self.registry, self.store = Registry(self.folder), Store(self.folder)
        self.version = self.registry.publish("good", model, metadata={})
        self.registry.move("good", "production", to=1)
        self.before = self.state()
        with self.store.lock("0" * 64):
            draft = self.store.draft("0" * 64, kind="model")
            (draft.path / "a.json").write_text("{}")
            self.artifact = draft.commit()
        write(self.version, self.registry.open(self.version), folder / "good.tar.gz")

    def state(self):
        return {path.relative_to(self.outside) for path in self.outside.rglob("*") if self.folder not in path.parents}

    def parameters(self):
        """Every function that takes a name from outside, with the name as its only parameter."""
        registry = self.registry
        return {
            "publish": lambda s: registry.publish(s, self.outside / "model", metadata={}),
            "resolve": registry.resolve,
            "resolve version": lambda s: registry.resolve(f"good@{s}"),
            "move": lambda s: registry.move("good", s, to=1),
            "move model": lambda s: registry.move(s, "production", to=1),
            "rollback": lambda s: registry.rollback("good", s),
            "aliases": registry.aliases,
            "form": self.forms.folder,
            "artifact file": self.artifact.file,
            "artifact": self.store.open,
            "safe_join": lambda s: safe_join(self.folder, s),
            "import as": lambda s: take_in(registry, self.outside / "good.tar.gz", name=s or "x/"),
            "import member": lambda s: take_in(registry, self.hostile(s)),
        }

    def hostile(self, name):
        """An archive whose record and members agree on a file of this name."""
        data = b"{}"
        listed = {name: {"sha256": sha256_bytes(data), "size": 2}}
        record = {
            "format": 1, "danlu": "0", "name": "evil", "number": 1, "published": "2026-01-01T00:00:00+00:00",
            "digest": "0" * 64, "files": listed, "metadata": {}, "manifests": [],
        }  # fmt: skip
        with suppress(ValueError):
            record["digest"] = files_digest({name: sha256_bytes(data)})
        path = self.outside / "hostile.tar.gz"
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            for member, content in (("version.json", json.dumps(record).encode()), (f"files/{name}", data)):
                told = tarfile.TarInfo(member)
                told.size = len(content)
                with suppress(UnicodeError):
                    archive.addfile(told, io.BytesIO(content))
        return path


def escapes(place, text, only=None):
    """What was reached outside, by any parameter that is given this text."""
    found = []
    for name, call in place.parameters().items():
        if only and name not in only:
            continue
        seen = []
        _watching.append((str(place.folder), seen))
        try:
            result = call(text)
        except DanluError:
            result = None
        finally:
            _watching.pop()
        if isinstance(result, Path) and not result.resolve().is_relative_to(place.outside):
            seen.append(("returned", result))
        found += [(name, one) for one in seen]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("paths"))


def test_known_strings(place):
    assert len(KNOWN) >= 200
    quick = KNOWN[:: max(1, len(KNOWN) // 100)]
    assert [found for text in quick for found in escapes(place, text)] == []
    fast = ("resolve", "resolve version", "form", "artifact file", "safe_join", "aliases")
    assert [found for text in KNOWN for found in escapes(place, text, fast)] == []
    assert place.state() - place.before <= {Path("good.tar.gz"), Path("hostile.tar.gz")}


pieces = st.sampled_from([*UPS, *TARGETS, "a", "good", "trained", "/", "\\", ".", "@", "1", "%", "#"])
texts = st.one_of(st.lists(pieces, max_size=6).map("".join), st.text(max_size=30))


@given(texts)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_generated_strings(place, text):
    assert (
        escapes(place, text, ("resolve", "resolve version", "form", "artifact file", "safe_join", "import member"))
        == []
    )


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_all_known_strings_on_every_parameter(place):
    assert [found for text in KNOWN for found in escapes(place, text)] == []


@pytest.mark.proof
@pytest.mark.timeout(3600)
@given(texts)
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_10000_generated_strings(place, text):
    assert escapes(place, text) == []


def test_a_planted_check_by_the_beginning_of_a_path_is_seen(place, monkeypatch):
    """`startswith` on a path that was not resolved: the commonest wrong check."""

    def wrong(root, relative):
        path = Path(f"{root}/{relative}")
        if not str(path).startswith(str(root)):
            raise DanluError("outside")
        return path

    monkeypatch.setattr("danlu.bundle.safe_join", wrong)
    found = [found for text in KNOWN if text.isprintable() for found in escapes(place, text, ("form",))]
    assert len(found) > 3
