"""One flipped bit in any stored file of a version is found when it is opened and when it is verified (D5)."""

import random

import pytest

from danlu.core.errors import DataError
from danlu.registry import content, store


def undetected(registry, model, flips):
    """Flips of one bit in the blobs of a version, or in its built folder, with which it is opened or verified all the
    same: file, place and call."""
    version = registry.publish("reviews", model(), metadata={})
    opened, chance, missed = registry.open(version), random.Random(0), []
    for k in range(flips):
        name, file = chance.choice(sorted(version.files.items()))
        path = opened / name if k % 2 else registry.blobs.path(file.sha256)
        whole = path.read_bytes()
        changed = bytearray(whole)
        place = chance.randrange(len(whole))
        changed[place] ^= 1 << chance.randrange(8)
        path.chmod(0o644)
        path.write_bytes(changed)
        for call in (registry.open, registry.verify):
            try:
                call(version)
                missed.append((name, place, call.__name__))
            except DataError:
                pass
        path.write_bytes(whole)
        path.chmod(0o444)
    registry.verify(version)
    return missed


def test_a_flipped_bit_anywhere_in_a_version_is_found(registry, model):
    assert undetected(registry, model, 60) == []


@pytest.mark.proof
def test_a_thousand_flipped_bits_in_a_version_are_found(registry, model):
    assert undetected(registry, model, 1_000) == []


def test_flips_find_that_no_digest_is_compared(registry, model, monkeypatch):
    for module in (content, store):
        monkeypatch.setattr(module, "find_fault", lambda *_: None, raising=False)
    assert len(undetected(registry, model, 60)) >= 60
