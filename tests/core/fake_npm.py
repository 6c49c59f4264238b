"""An asset of two files that a fake npm brings, and what is left of fetching it."""

import sys
import tarfile
from pathlib import Path

FAKE_NPM = """#!{python}
import os, shutil, sys, time
with open({log!r}, "a") as log:
    log.write("fetched\\n")
shutil.copy({archive!r}, "tiny.tgz.part")
time.sleep(float(os.environ.get("SLOW", 0)))
os.rename("tiny.tgz.part", "tiny.tgz")
"""


def make_archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            (path.parent / "member").write_text(text)
            tar.add(path.parent / "member", f"package/{name}")
    return path


def write_npm(path: Path, archive: Path, log: Path) -> None:
    path.write_text(FAKE_NPM.format(python=sys.executable, log=str(log), archive=str(archive)))
    path.chmod(0o700)


def fetches(tmp_path):
    return (tmp_path / "log").read_text().count("fetched") if (tmp_path / "log").exists() else 0


def left_over(cache):
    return [p.name for p in (cache / "assets").iterdir() if p.name.startswith(".tmp-")]
