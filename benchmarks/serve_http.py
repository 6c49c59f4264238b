"""Requests per second of `danlu serve` beside other servers of the same model, over HTTP, on real sentences.

    python benchmarks/serve_http.py [MODEL] [--store DIR] [--rounds 5] [--seconds 10] [--litserve DIR]

MODEL is a published text classifier (default review-sentiment). Beside it run FastAPI with `transformers.pipeline` in
fp32, and LitServe with the same int8 graph where DIR holds it (`pip install --target DIR litserve`; it is no dependency
of Danlu). Every server runs throughout, the idle ones stopped (SIGSTOP); in every round each is asked for some seconds
by `wrk` over 16 keep-alive connections and over one, one sentence of movie-snippets a request. Figures are medians over
the rounds, the ratios medians of the ratios; `cpu_ms` is processor time a request, which holds on a busy machine too.
Prints one JSON document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from danlu.core.artifact import Store
from danlu.plugins.sources.asset import Asset
from danlu.registry.store import Registry

HERE = Path(__file__).parent
SENTENCES = 2000
SCRIPT = """
local bodies, k = {}, 0
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
request = function()
  k = k % #bodies + 1
  return wrk.format("POST", nil, {["content-type"] = "application/json"}, bodies[k])
end
done = function(summary, latency)
  io.write(string.format("FIGURES %d %d %d %.0f %.0f %.0f\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout, latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
"""


class Server:
    """A server in a process group of its own, stopped while another is measured."""

    def __init__(self, name: str, command: list[str], path: str, ready: str, port: int, extra: str = "") -> None:
        self.name, self.url = name, f"http://127.0.0.1:{port}{path}"
        paths = [part for part in (extra, os.environ.get("PYTHONPATH", "")) if part]
        began = time.monotonic()
        self.process = subprocess.Popen(
            command, start_new_session=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not answers(f"http://127.0.0.1:{port}{ready}"):
            if self.process.poll() is not None or time.monotonic() - began > 120:
                self.end()
                raise SystemExit(f"{name} did not start: {' '.join(command)}")
            time.sleep(0.02)
        self.ready_seconds = round(time.monotonic() - began, 2)
        self.signal(signal.SIGSTOP)

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def processes(self) -> list[psutil.Process]:
        whole = psutil.Process(self.process.pid)
        return [whole, *whole.children(recursive=True)]

    def megabytes(self) -> float:
        return round(sum(p.memory_info().rss for p in self.processes()) / 1e6)

    def cpu_seconds(self) -> float:
        return sum(times.user + times.system for times in (p.cpu_times() for p in self.processes()))

    def measure(self, script: Path, connections: int, seconds: int) -> dict[str, float]:
        self.signal(signal.SIGCONT)
        try:
            wrk(script, self.url, connections, 2)
            before = self.cpu_seconds()
            told = wrk(script, self.url, connections, seconds)
            cpu = (self.cpu_seconds() - before) / max(1, told["requests"]) * 1e3
            return told | {"cpu_ms": cpu, "rss_mb": self.megabytes()}
        finally:
            self.signal(signal.SIGSTOP)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return response.status == 200
    except OSError:
        return False


def wrk(script: Path, url: str, connections: int, seconds: int) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests, duration, errors, *waits = (float(n) for n in re.search(r"FIGURES (.*)", told)[1].split())
    latency = {f"{name}_ms": wait / 1e3 for name, wait in zip(("p50", "p90", "p99"), waits, strict=True)}
    return {"requests": requests, "per_s": requests / duration * 1e6, "errors": errors, **latency}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(arguments: argparse.Namespace, store: Path, folder: Path, servers: list[Server]) -> None:
    port = free_port()
    ours = [
        sys.executable,
        "-m",
        "danlu.cli.main",
        "serve",
        arguments.model,
        "--store",
        str(store),
        "--port",
        str(port),
    ]
    servers.append(Server("danlu", ours, "/v1/predict", "/readyz", port))
    peers = {"pipeline": ("serve_peer_pipeline.py",)}
    if arguments.litserve:
        peers |= {"litserve": ("serve_peer_litserve.py",), "litserve_batched": ("serve_peer_litserve.py", "batch")}
    for name, (script, *more) in peers.items():
        if not arguments.only or name in arguments.only:
            port = free_port()
            command = [sys.executable, str(HERE / script), str(folder), str(port), *more]
            servers.append(
                Server(
                    name, command, "/predict", "/health", port, arguments.litserve if more or name == "litserve" else ""
                )
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="review-sentiment")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--litserve", default="", metavar="DIR")
    parser.add_argument("--only", nargs="*", help="peers to measure")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    store = Store.locate(arguments.store, Path.cwd()).path
    registry = Registry(store)
    folder = registry.open(registry.resolve(arguments.model))
    texts = [t for batch in Asset(asset="movie-snippets").rows() for t in batch.column("text").to_pylist()][:SENTENCES]
    with tempfile.TemporaryDirectory() as temporary:
        bodies, script = Path(temporary, "bodies"), Path(temporary, "wrk.lua")
        bodies.write_text("".join(json.dumps({"input": text}) + "\n" for text in texts))
        script.write_text(SCRIPT.replace("BODIES", str(bodies)))
        servers: list[Server] = []
        try:
            start(arguments, store, folder, servers)
            rounds = [
                {
                    f"{server.name}_{n}": server.measure(script, n, arguments.seconds)
                    for n in (16, 1)
                    for server in servers
                }
                for _ in range(arguments.rounds)
            ]
        finally:
            for server in servers:
                server.end()
    print(json.dumps(figures(rounds, servers), indent=1))


def figures(rounds: list[dict[str, dict[str, float]]], servers: list[Server]) -> dict[str, object]:
    told: dict[str, object] = {"ready_s": {server.name: server.ready_seconds for server in servers}}
    for key in rounds[0]:
        told[key] = {n: round(statistics.median(r[key][n] for r in rounds), 2) for n in rounds[0][key]}
    for server in servers[1:]:
        ratios = [r["danlu_16"]["per_s"] / r[f"{server.name}_16"]["per_s"] for r in rounds]
        told[f"ratio_to_{server.name}_16"] = [round(f(ratios), 2) for f in (min, statistics.median, max)]
    return told


if __name__ == "__main__":
    main()
