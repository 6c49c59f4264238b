"""`danlu doctor` and `danlu clean`: the machine and the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from danlu.cli.output import JsonOption, StoreOption, console, facts, print_json, say, table
from danlu.core import plugin
from danlu.core.errors import DanluError, MachineError
from danlu.core.plugin import lazy

api = lazy("danlu.api")
assets = lazy("danlu.core.assets")
machine = lazy("danlu.core.machine")
registry_store = lazy("danlu.registry.store")

_GIB = 2**30


def doctor(
    store_check: Annotated[
        bool, typer.Option("--store-check", help="Read the whole store: every file against its SHA-256.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the machine, the store and the plug-ins, and say what is missing and how to mend it.

    Of the store it reads the manifests and the sizes of the files; with --store-check every byte. Ends with 4 where the
    store is damaged; what else it finds is advice.

    Example:  danlu doctor --store-check
    """
    place = api.locate(store)
    found = machine.facts(place.path) | {"torch_threads": machine.torch_threads(), "threads_env": machine.threads_env()}
    of_store = list(_store_checks(place, full=store_check))
    checks = [*_checks(found, place), *of_store, *_plugin_checks()]
    if as_json:
        print_json({"machine": found, "store": place.path, "assets": assets.cache_dir(), "checks": checks})
    else:
        _print_machine(found, place)
        say()
        for check in checks:
            console.print("[green]ok  [/green]" if check["ok"] else "[yellow]look[/yellow]", end="  ")
            say(check["what"] if check["ok"] else f"{check['what']}\n      → {check['do']}")
    if not all(check["ok"] for check in of_store):
        raise typer.Exit(MachineError.exit_code)


def _print_machine(found: dict[str, Any], place: Any) -> None:
    facts(
        {
            "system": f"{found['os']}, Python {found['python']}",
            "processor": f"{found['cpu']}, {found['threads']} threads, torch takes {found['torch_threads']}",
            "threads": ", ".join(f"{name}={value}" for name, value in found["threads_env"].items()),
            "it can": ", ".join(found["cpu_flags"]) or "nothing known",
            "memory": f"{found['memory_available'] / _GIB:.1f} GiB free of {found['memory_total'] / _GIB:.1f}",
            "disk": f"{found['disk_free'] / _GIB:.1f} GiB free",
            "store": place.path,
            "assets": assets.cache_dir(),
            "libraries": ", ".join(f"{name} {version}" for name, version in found["libraries"].items()),
        }
    )


def _checks(found: dict[str, Any], place: Any) -> Iterator[dict[str, Any]]:
    absent = [name for name in ("movie-snippets", "minilm") if not assets.is_here(assets.find(name))]
    native = bool({"bf16", "amx"} & set(found["cpu_flags"])) or bool(found["gpus"])
    yield _check(
        found["memory_available"] > 3 * _GIB,
        "3 GiB of memory are free, enough to train a small encoder",
        "less than 3 GiB of memory are free",
        "close other programs",
    )
    yield _check(
        found["disk_free"] > 2 * _GIB,
        "2 GiB of disk are free",
        "less than 2 GiB of disk are free",
        "danlu clean --dry-run shows what can go",
    )
    yield _check(
        native,
        "bfloat16 is multiplied in hardware, so `precision: auto` may use it",
        "bfloat16 is not multiplied in hardware",
        "nothing to do: training uses fp32",
    )
    if "avx512" in found["cpu_flags"]:
        what, do = machine.loops_fault() or ("", "")
        yield _check(not what, "the loops in C are there, which encoders that learn in bf16 take", what, do)
    waiting = machine.threads_faults()
    for fault, mend in waiting:
        yield _check(False, "", fault, mend)
    if not waiting:
        yield _check(True, "waiting threads leave their cores to other programs", "", "")
    yield _check(
        not absent,
        "the assets of the quick start are here",
        f"not here: {', '.join(absent)}",
        f"danlu assets get {' '.join(absent)}",
    )
    yield _check(
        _may_write(place),
        "the store can be written to",
        f"the store can't be written to: {place.path}",
        "choose another one: --store, or DANLU_STORE",
    )


def _plugin_checks() -> Iterator[dict[str, Any]]:
    for entry in plugin.entries():
        if entry.error:
            mend = f"pip install 'danlu[{entry.extra}]'" if entry.extra else f"look at {entry.path or entry.target}"
            yield _check(False, "", f"{entry.family}/{entry.name} can't be used: {entry.error}", mend)


def _check(ok: bool, good: str, bad: str, do: str) -> dict[str, Any]:
    return {"ok": ok, "what": good if ok else bad, "do": "" if ok else do}


def _may_write(place: Any) -> bool:
    nearest = next(folder for folder in (place.path, *place.path.parents) if folder.is_dir())
    return os.access(nearest, os.W_OK)


def _store_checks(place: Any, *, full: bool) -> Iterator[dict[str, Any]]:
    """The artifacts, and the registry with its files: by manifests and sizes, or with `full` by every byte."""
    artifacts, faults = place.readable()
    for artifact in artifacts:
        try:
            artifact.verify(sizes_only=not full)
        except DanluError as fault:
            faults.append(fault)
    try:
        registry = registry_store.Registry(place.path)
        entries = registry.check_audit()
        yield _check(True, f"the registry's audit is whole ({entries} entries)", "", "")
        faults += registry.damage(full=full)
    except DanluError as fault:
        faults.append(fault)
    for told in faults:
        yield _check(False, "", f"{told.where}: {told.what}", told.do)
    if not faults:
        how = "every byte of the store is" if full else "the store is, by manifests and sizes,"
        yield _check(True, f"{how} as it was written ({len(artifacts)} artifacts)", "", "")


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Free what no version and no recent run needs: old artifacts, leftovers of killed runs, unused files.

    Published versions stay, and so does what the last three runs of each recipe made or used.

    Example:  danlu clean --dry-run
    """
    freed = api.clean(store, dry_run=dry_run)
    if as_json:
        print_json(freed)
        return
    if freed["removed"]:
        table(["what", "where"], [(thing["what"], thing["path"]) for thing in freed["removed"]])
        say()
    for fault in freed["broken"]:
        say(f"! left alone: {fault['path']}: {fault['what']}\n      → {fault['do']}")
    say(f"{'would free' if dry_run else 'freed'} {freed['bytes'] / 1e6:.1f} MB in {freed['store']}")
