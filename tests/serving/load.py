"""Callers that ask all the time and note what they got: the server is judged by what its callers received."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Seen:
    """One request as its caller saw it: `status` is 0 where the connection broke."""

    text: str
    sent: float
    over: float
    status: int
    told: dict
    version: str


@dataclass
class Alias:
    """Where an alias pointed, and when it was moved; times are monotonic."""

    moves: list[tuple[float, str]] = field(default_factory=list)

    def moved(self, version: str) -> None:
        self.moves.append((time.monotonic(), version))

    def valid(self, began: float, over: float) -> set[str]:
        """Where it pointed at any moment between two times."""
        before = [version for at, version in self.moves if at <= began][-1:]
        return {*before, *(version for at, version in self.moves if began < at <= over)}


async def request(reader, writer, body: bytes, path: str, close: bool) -> tuple[int, dict[str, str], bytes]:
    """One request over an open connection: status, headers, body."""
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {len(body)}"]
    lines += ["connection: close"] if close else []
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def caller(url: str, texts, seen: list[Seen], *, keep: bool, path: str) -> None:
    """Asks for one text after the other until there are none left."""
    host, _, port = urlsplit(url).netloc.partition(":")
    connection = None
    for text in texts:
        began, status, told, version = time.monotonic(), 0, {}, ""
        try:
            connection = connection or await asyncio.open_connection(host, int(port))
            body = json.dumps({"input": text}).encode()
            status, headers, content = await asyncio.wait_for(request(*connection, body, path, not keep), 60)
            told, version = json.loads(content), headers.get("x-danlu-version", "")
            keep_it = keep and headers.get("connection") != "close"
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            keep_it = False
        seen.append(Seen(text, began, time.monotonic(), status, told, version))
        if connection and not keep_it:
            connection[1].close()
            connection = None
    if connection:
        connection[1].close()


async def drive(
    url: str, texts, *, kept: int = 8, fresh: int = 8, path: str = "/v1/predict", seen: list[Seen] | None = None
) -> list[Seen]:
    """Ask for all texts, shared among callers with a connection that is kept and callers with a fresh one each time."""
    seen = [] if seen is None else seen
    shared = iter(texts)
    async with asyncio.TaskGroup() as group:
        for number in range(kept + fresh):
            group.create_task(caller(url, shared, seen, keep=number < kept, path=path))
    return seen


def faults(seen: list[Seen], alias: Alias, right, lag: float) -> Counter:
    """What went wrong: requests that failed, answers of a version that was not valid, answers that are not right.

    A version is valid for an answer when the alias pointed to it within `lag` seconds before the request or until its
    end. `right(version, text, answer)` says whether the answer is that version's.
    """
    found: Counter = Counter()
    for one in seen:
        if one.status != 200:
            found[f"status {one.status}"] += 1
        elif one.version != one.told["version"]:
            found["two versions told"] += 1
        elif one.version not in alias.valid(one.sent - lag, one.over):
            found["version not valid"] += 1
        elif not right(one.version, one.text, one.told["answer"]):
            found["wrong answer"] += 1
    return found
