import platform
import subprocess
import sys

import pytest

from danlu.blocks import allocator

_FAULTS = """
import resource, sys
import torch
from danlu.blocks.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for k in range(24):
    torch.zeros(20_000_000)
    if k == 11:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_memory_is_fetched_once():
    def faults(how):
        command = [sys.executable, "-c", _FAULTS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults("keep") < faults("return") / 10


_RESIDENT = """
import torch
from danlu.blocks.allocator import give_back, keep_freed_memory
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
keep_freed_memory()
held = [torch.ones(5_000_000) for _ in range(20)], torch.ones(1)
before = resident()
del held
kept = resident()
give_back()
print(before, kept, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_memory_is_given_back_when_asked():
    done = subprocess.run([sys.executable, "-c", _RESIDENT], check=True, capture_output=True, text=True)
    before, kept, after = map(int, done.stdout.split())
    assert kept > before - 50_000 > after + 200_000  # KB: 400 MB were held


def test_other_libraries_are_left_alone(monkeypatch):
    allocator._glibc.cache_clear()
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("musl", "1.2"))
    assert allocator.keep_freed_memory() is False
    allocator.give_back()
    allocator._glibc.cache_clear()
