import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.core import machine

AMD = "model name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni\nflags\t\t: fpu\n"
INTEL = "model name\t: Xeon\nflags\t\t: avx2 avx512f avx_vnni amx_bf16 amx_tile amx_int8\n"
ARM = "Features\t: fp asimd asimddp bf16\n"


def test_facts_are_plain_and_complete():
    facts = machine.facts(gpus=["A"])
    assert json.loads(json.dumps(facts)) == facts
    assert facts["gpus"] == ["A"]
    assert 1 <= facts["threads"] <= facts["cores"]
    assert 0 < facts["memory_available"] <= facts["memory_total"]
    assert facts["disk_free"] > 0
    assert {"danlu", "torch", "numpy"} <= facts["libraries"].keys()


@pytest.mark.parametrize(
    ("told", "flags", "model"),
    [
        (AMD, ["avx2", "avx512", "vnni", "bf16"], "AMD EPYC"),
        (INTEL, ["avx2", "avx512", "vnni", "amx"], "Xeon"),
        (ARM, ["vnni", "bf16"], None),
        (None, [], None),
    ],
)
def test_processor_flags(tmp_path, monkeypatch, told, flags, model):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    if told:
        (tmp_path / "cpuinfo").write_text(told)
    assert machine.cpu_flags() == flags
    assert machine.facts()["cpu"] == model or model is None


@pytest.mark.parametrize(("share", "threads"), [("max 100000", 8), ("300000 100000", 3), ("50000 100000", 1), ("", 8)])
def test_threads_follow_affinity_and_share(tmp_path, monkeypatch, share, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "_CPU_SHARE", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(share)
    assert machine.cpu_threads() == threads


def test_memory_is_what_the_container_still_gives(tmp_path, monkeypatch):
    group = (str(tmp_path / "max"), str(tmp_path / "current"), str(tmp_path / "stat"), "inactive_file")
    monkeypatch.setattr(machine, "_CGROUPS", (group,))
    free = machine.available_memory()
    (tmp_path / "max").write_text("3000\n")
    (tmp_path / "current").write_text("2500\n")
    (tmp_path / "stat").write_text("anon 1\ninactive_file 700\nfile 9\n")
    assert machine.available_memory() == 1200
    (tmp_path / "max").write_text("max\n")
    assert machine.available_memory() == pytest.approx(free, rel=0.5)


def test_idle_threads_sleep_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    machine.tune_threads_env()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    assert machine.disk_free(tmp_path / "a" / "b") == pytest.approx(machine.disk_free(tmp_path), rel=0.1)


def test_no_torch_is_imported():
    code = "import sys; from danlu.core import machine; machine.facts(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_cgroups_or_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "_CGROUPS", ((str(Path("/nowhere")),) * 3 + ("x",),))
    assert machine.cpu_threads() >= 1
    assert machine.available_memory() > 0
