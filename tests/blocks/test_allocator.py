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
for k in range(12):
    torch.zeros(20_000_000)
    if k == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_memory_is_fetched_once():
    def faults(how):
        command = [sys.executable, "-c", _FAULTS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults("keep") < faults("return") / 10


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("musl", "1.2"))
    assert allocator.keep_freed_memory() is False
