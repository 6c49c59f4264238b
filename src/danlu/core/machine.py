"""What this machine is: for `danlu doctor`, for manifests, and for choices that depend on cores and memory.

Nothing here imports torch. What only torch knows (the names of the GPUs) is passed in by whoever has it loaded.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

_LIBRARIES = (
    "danlu", "torch", "transformers", "tokenizers", "safetensors", "peft", "onnx", "onnxruntime", "numpy", "pyarrow",
    "scikit-learn", "pydantic", "sqlalchemy", "fastapi",
)  # fmt: skip

_CPU_FLAGS = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni", "asimddp"),
    "bf16": ("avx512_bf16", "bf16"),
    "amx": ("amx_tile",),
}
"""Our name → the kernel's names, any of which is enough; on ARM `asimddp` and `bf16` do the same jobs."""

_CPUINFO = Path("/proc/cpuinfo")
_CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Limit, usage and statistics of a container's memory, in the second and in the first version of control groups."""


SPINS = "1000"
"""How often a waiting OpenMP thread of GCC's library looks before it sleeps: some 20 microseconds."""


KERNELS = "4096"
"""How many kernels oneDNN keeps that it made for a shape."""

_OWN = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": SPINS, "ONEDNN_PRIMITIVE_CACHE_CAPACITY": KERNELS}
_LONG = 3000
"""Spins from which a waiting thread is felt by other programs (docs/decisions.md, 23)."""
_SPIN = re.compile(r"(\d+)\s*([kmgt]?)", re.IGNORECASE)


def tune_threads_env() -> None:
    """Make idle OpenMP threads sleep after a short spin, and oneDNN keep its kernels, unless told otherwise.

    Must run before torch loads. Spinning threads take the core that another process, or ONNX Runtime's own pool, needs;
    threads that sleep at once are late for each of the thousand operations of a step. Texts of 40 lengths need more
    kernels than the 1,024 that oneDNN keeps by itself, and makes again (docs/decisions.md, 23).
    """
    for name, own in _OWN.items():
        os.environ.setdefault(name, own)


def threads_env() -> dict[str, str]:
    """What is in force after `tune_threads_env`: the user's own values, and ours where there are none."""
    return {name: os.environ.get(name, own) for name, own in _OWN.items()}


def torch_threads() -> int:
    """How many threads torch takes in a process that starts here: `OMP_NUM_THREADS`, else one a physical core.

    torch sees which processors are allowed, and not a container's share of them.
    """
    with suppress(ValueError):
        return max(1, int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]))
    return min(_allowed(), psutil.cpu_count(logical=False) or _allowed())


def threads_faults() -> list[tuple[str, str]]:
    """What of the threads' settings costs time, and what to do about it."""
    told, found = threads_env(), list[tuple[str, str]]()
    policy, spins = told["OMP_WAIT_POLICY"], told["GOMP_SPINCOUNT"]
    if policy.strip().upper() == "ACTIVE":
        what = f"OMP_WAIT_POLICY={policy}: waiting threads keep their cores from other programs"
        found.append((what, "unset OMP_WAIT_POLICY, or set it to PASSIVE"))
    elif policy.strip().upper() != "PASSIVE":
        what = f"OMP_WAIT_POLICY={policy!r} is neither PASSIVE nor ACTIVE, so OpenMP passes over it"
        found.append((what, "unset OMP_WAIT_POLICY, or set it to PASSIVE"))
    looks = _spins(spins)
    if looks is None:
        what = f"GOMP_SPINCOUNT={spins!r} is no number of spins, so OpenMP passes over it"
        found.append((what, f"unset GOMP_SPINCOUNT, or set it to {SPINS}"))
    elif looks > _LONG:
        what = f"GOMP_SPINCOUNT={spins}: threads that wait spin for long, to the cost of other programs"
        found.append((what, f"unset GOMP_SPINCOUNT, or set it to {SPINS}"))
    if torch_threads() > cpu_threads():
        what = f"torch takes {torch_threads()} threads, and this process may run {cpu_threads()} at once"
        found.append((what, f"export OMP_NUM_THREADS={cpu_threads()}"))
    return found


def _spins(text: str) -> float | None:
    """A number of spins as GCC's OpenMP library reads it; None for what it does not."""
    text = text.strip()
    if text.lower() in ("infinity", "infinite"):
        return float("inf")
    read = _SPIN.fullmatch(text)
    return int(read[1]) * 1000.0 ** " kmgt".index(read[2].lower() or " ") if read else None


def cpu_threads() -> int:
    """How many threads this process may really run at once: its affinity and its container's share of processors."""
    return min(_allowed(), _cpu_quota() or _allowed())


def _allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_cores() -> int:
    """How many physical cores this process may use, at least one: two threads of a core share its arithmetic."""
    return min(psutil.cpu_count(logical=False) or cpu_threads(), cpu_threads())


def _cpu_quota() -> int | None:
    with suppress(OSError, ValueError):
        quota, period = _CPU_SHARE.read_text().split()
        return max(1, round(int(quota) / int(period)))
    return None


def available_memory() -> int:
    """Bytes that can still be used without swapping, within the container's limit where there is one."""
    free = int(psutil.virtual_memory().available)
    for limit, usage, statistics, reclaimable in _CGROUPS:
        with suppress(OSError, ValueError):
            cached = re.search(rf"^{reclaimable} (\d+)$", Path(statistics).read_text(), re.MULTILINE)
            used = int(Path(usage).read_text()) - (int(cached[1]) if cached else 0)
            free = min(free, max(0, int(Path(limit).read_text()) - used))
    return free


LOOPS_SWITCH = "DANLU_LOOPS"
"""Set to `torch` in the environment, loops in C are not used."""


LOOPS_FORM = 1
"""What `loops.h` says its functions are given; another number is that of a library made of other sources."""


def loops() -> ctypes.CDLL | None:
    """The library of loops in C (`blocks/loops.py`), where it was compiled of these sources."""
    spec = find_spec("danlu.blocks._loops")
    if spec is None or spec.origin is None:
        return None
    with suppress(OSError, AttributeError):  # made for another system, or cut off
        found = ctypes.CDLL(spec.origin)
        return found if found.form() == LOOPS_FORM else None
    return None


def loops_fault() -> tuple[str, str] | None:
    """Why a processor that could run the loops in C does not, and what to do about it."""
    if "avx512" not in cpu_flags():
        return None
    if os.environ.get(LOOPS_SWITCH) == "torch":
        return f"{LOOPS_SWITCH}=torch: the loops in C are switched off", f"unset {LOOPS_SWITCH}"
    if loops() is None:
        what = "the loops in C were not compiled from these sources, so encoders learn by torch's own operations"
        return what, "install a C compiler (gcc or clang), then install danlu again with pip"
    return None


def facts(folder: Path | None = None, *, gpus: Sequence[str] = ()) -> dict[str, Any]:
    """The machine as plain JSON values; memory and disk in bytes.

    `folder` is the place whose free disk space is told, `gpus` the names that torch gave.
    """
    return {
        "os": platform.platform(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=True) or 1,
        "physical_cores": psutil.cpu_count(logical=False) or 1,
        "threads": cpu_threads(),
        "cpu_flags": cpu_flags(),
        "memory_total": int(psutil.virtual_memory().total),
        "memory_available": available_memory(),
        "disk_free": disk_free(folder or Path.cwd()),
        "gpus": list(gpus),
        "libraries": library_versions(),
    }


def cpu_flags() -> list[str]:
    """Which of avx2, avx512, vnni, bf16 and amx the processor has; empty where the system does not tell."""
    found = set(re.findall(r"^(?:flags|Features)\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)[:1])
    has = set(" ".join(found).split())
    return [name for name, kernel_names in _CPU_FLAGS.items() if has.intersection(kernel_names)]


def _cpu_model() -> str:
    model = re.search(r"^model name\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def _cpuinfo() -> str:
    with suppress(OSError):
        return _CPUINFO.read_text("utf-8", errors="replace")
    return ""


def disk_free(folder: Path) -> int:
    """Bytes free on the disk of a folder that may not exist yet."""
    for place in (folder.absolute(), *folder.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on, read without importing them."""
    versions = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
