"""Pieces of rows that several processes work on: the same rows, errors told as before, nobody left over."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from danlu.blocks import chain, crew
from danlu.blocks.chain import Chain, chains, cut
from danlu.blocks.crew import ENV, Crew
from danlu.blocks.journal import Journal, entries, numbered
from danlu.blocks.pieces import Pieces
from danlu.blocks.sifting import Sifting
from danlu.contracts import Columns, Context
from danlu.core.artifact import Store
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.core.events import Events
from danlu.plugins.operators import drop_duplicates
from danlu.plugins.operators.drop_duplicates import DropDuplicates
from danlu.plugins.operators.drop_empty import DropEmpty
from danlu.plugins.operators.length import Length
from danlu.plugins.operators.mask_pii import MaskPII
from danlu.plugins.operators.normalize import Normalize
from danlu.plugins.operators.regex import Regex
from danlu.plugins.sources.jsonl import JSONL
from danlu.stages.prepare import Prepare

NAMES = ("normalize", "regex", "drop_empty")
WORK = Chain(
    (Normalize(), Regex(pattern="film", action="replace", replacement="movie"), DropEmpty()),
    NAMES,
    Context(Columns(("text",))),
)


def rows(count=60):
    cells = [f"film\u3000 number {k}" if k % 7 else None for k in range(count)]
    return pa.table({"text": cells, "__row__": range(count)})


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(chain, "PIECE", 400)


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setenv(ENV, "2")
    with Crew() as made:
        yield made


def test_a_table_is_cut_into_pieces_that_are_the_table_again(small_pieces):
    pieces = list(cut(rows()))
    assert len(pieces) > 2
    assert pa.concat_tables(pieces).equals(rows())
    assert [piece.num_rows for piece in cut(rows(0))] == [0]


def test_a_chain_ends_where_an_operator_follows_that_compares_rows():
    found = chains(
        [Normalize(), DropEmpty(), DropDuplicates(), Regex(pattern="a", replacement="b"), MaskPII(names=".")]
    )
    assert [(spread, [one.name for one in ones]) for spread, ones in found] == [
        (True, ["normalize", "drop_empty"]),
        (False, ["drop_duplicates"]),
        (True, ["regex"]),
        (False, ["mask_pii"]),
    ]


def test_operators_after_one_that_left_nothing_are_not_asked():
    worked = Chain((Length(least=1000), Normalize()), ("length", "normalize"), Context(Columns(("text",)))).work(rows())
    assert (worked.rows.num_rows, len(worked.counts)) == (0, 1)
    assert worked.entries.num_rows == 60


def test_a_worker_gives_what_this_process_gives(small_pieces, two, monkeypatch):
    here = [WORK.work(piece) for piece in cut(rows())]
    monkeypatch.setattr(Chain, "work", lambda *_: pytest.fail("it was not given away"))
    two.expect(0)
    for piece, mine in zip(cut(rows()), here, strict=True):
        theirs = two._workers[0].ask(WORK, piece)
        assert theirs.rows.equals(mine.rows)
        assert theirs.entries.equals(mine.entries)
        assert theirs.counts == mine.counts


def test_pieces_come_back_in_their_order(small_pieces, two):
    given = list(cut(rows()))
    made = [worked.rows for worked in two.work(WORK, given * 3, 0)]
    assert [one.column("__row__").to_pylist() for one in made] == [
        WORK.work(piece).rows.column("__row__").to_pylist() for piece in given * 3
    ]


def test_what_waits_for_a_worker_is_taken_back_when_nothing_else_is_left(two, monkeypatch):
    two.expect(0)
    asked, begun, here = threading.Event(), threading.Event(), []
    work = type("Here", (), {"work": lambda _, piece: here.append(piece.num_rows) or WORK.work(piece)})()

    def busy(self, _, piece):
        asked.set()
        begun.wait(60)
        return WORK.work(piece)

    def pieces():
        yield rows(10)
        assert asked.wait(60)
        yield rows(20)
        yield rows(30)
        yield rows(40)  # two wait already
        begun_later.start()

    monkeypatch.setattr(crew._Worker, "ask", busy)
    begun_later = threading.Timer(0.2, begun.set)
    found = [worked.counts[0].rows_in for worked in two.work(work, pieces(), 0)]
    assert (found, here) == ([10, 20, 30, 40], [40, 30, 20])


def test_rows_that_come_start_the_others_before_they_are_needed(monkeypatch):
    monkeypatch.setenv(ENV, "2")
    with Crew() as made:
        made.expect(1)
        made.expect(1)
        assert len(made._workers) == 1


def test_a_large_file_starts_the_others_before_its_rows_come(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"text": "warm"}\n' * 10)
    (tmp_path / "b.jsonl").write_text('{"text": "dull"}\n')
    monkeypatch.delenv(ENV, raising=False)
    monkeypatch.setattr(crew.machine, "cpu_threads", lambda: 2)
    monkeypatch.setattr(crew, "FROM", 17 * 11)  # the bytes of both; their rows have fewer
    with Journal(tmp_path) as journal, Crew() as made:
        Sifting(tmp_path, journal, Events.silent(), 0, made).read(JSONL(path=str(tmp_path / "a.jsonl")))
        assert not made._workers
        Sifting(tmp_path, journal, Events.silent(), 0, made).read(JSONL(path=str(tmp_path)))
        assert len(made._workers) == 1


def test_few_rows_start_no_process(monkeypatch):
    monkeypatch.delenv(ENV, raising=False)
    monkeypatch.setattr(crew.machine, "cpu_threads", lambda: 4)
    with Crew() as made:
        assert len(list(made.work(WORK, [rows()], crew.FROM - 1))) == 1
        assert not made._workers


@pytest.mark.parametrize("told", ["0", "two", "-1", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, told):
    monkeypatch.setenv(ENV, told)
    with pytest.raises(RecipeError, match="is no number of processes"):
        Crew()


def test_rows_are_compared_while_others_are_still_cleaned(tmp_path, small_pieces, monkeypatch):
    heard, work, keys = list[str](), Chain.work, drop_duplicates.key_array
    monkeypatch.setenv(ENV, "1")
    monkeypatch.setattr(Chain, "work", lambda *given: heard.append("cleaned") or work(*given))
    monkeypatch.setattr(drop_duplicates, "key_array", lambda *a, **b: heard.append("compared") or keys(*a, **b))
    texts = pa.table({"text": [f"film  {k % 40}" for k in range(80)]})
    with Journal(tmp_path) as journal, Crew() as made:
        sifting = Sifting(tmp_path, journal, Events.silent(), 0, made)
        given = Pieces.of([numbered(texts, 0)], tmp_path)
        found = sifting.operate(given, [Normalize(), DropDuplicates(), Length(least=1)], Columns(("text",))).whole()
    first = heard.index("cleaned", heard.index("compared"))
    assert heard[: first + 1] == ["cleaned", "compared", "cleaned"]
    assert found.column("text").to_pylist() == [f"film {k}" for k in range(40)]
    assert [(step["name"], step["rows_in"]) for step in sifting.told] == [
        ("normalize", 80), ("drop_duplicates", 80), ("length", 40),
    ]  # fmt: skip
    assert entries(tmp_path, 41)[-1]["why"] == "the same as row 2"


def test_an_error_in_a_worker_is_that_of_this_process(two):
    odd = Chain((Normalize(columns=("other",)),), ("normalize",), Context(Columns(("text",))))
    with pytest.raises(DataError) as here:
        odd.work(rows())
    with pytest.raises(DataError) as there:
        list(two.work(odd, [rows()], 0))
    assert str(there.value) == str(here.value)
    assert len(list(two.work(WORK, [rows()], 0))) == 1  # and the worker goes on


def test_where_no_process_can_be_started_this_one_does_all(two, monkeypatch):
    def refused(*_, **__):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(crew.subprocess, "Popen", refused)
    assert [worked.rows.num_rows for worked in two.work(WORK, [rows()] * 2, 0)] == [51, 51]


def test_a_killed_worker_is_told(two, monkeypatch):
    list(two.work(WORK, [rows()], 0))
    two._workers[0].process.send_signal(signal.SIGKILL)
    asked, ask = threading.Event(), crew._Worker.ask
    monkeypatch.setattr(crew._Worker, "ask", lambda *args: (asked.set(), ask(*args))[1])

    def pieces():
        yield rows()
        assert asked.wait(60)  # or all is done here before the worker is asked for anything
        yield rows()

    with pytest.raises(MachineError, match=r"was killed by SIGKILL\n.*DANLU_WORKERS=1"):
        list(two.work(WORK, pieces(), 0))


def test_workers_end_with_the_crew(monkeypatch):
    monkeypatch.setenv(ENV, "3")

    def stopped():
        with made:
            next(made.work(WORK, [rows()] * 4, 0))
            raise KeyboardInterrupt

    made = Crew()
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [worker.process.returncode for worker in made._workers] == [-signal.SIGKILL] * 2


ORPHANED = """
import sys, time
import pyarrow as pa
from danlu.blocks.crew import Crew
with Crew() as made:
    made.expect(0)
    print(made._workers[0].process.pid, flush=True)
    time.sleep(600)
"""


def test_a_killed_maker_leaves_no_worker():
    command, env = [sys.executable, "-c", ORPHANED], os.environ | {ENV: "2"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as maker:
        worker = int(maker.stdout.readline())
        maker.kill()
    until = time.monotonic() + 60
    while _runs(worker):
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_data_set_does_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "PIECE", 3000)
    draw = random.Random(0)
    words = ["warm", "dull", "film\u3000", "<b>story</b>", "", "  end", "caf\u00c3\u00a9", "a@b.org"]
    lines = [{"text": " ".join(draw.choices(words, k=draw.randint(0, 9))), "label": "ab"[k % 2]} for k in range(400)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    operators = ("mask_pii", "normalize", "strip_html", "fix_encoding", "drop_empty", "quality", "drop_duplicates")
    task = {"text_classification": {"text": "text", "label": "label"}}
    found = set()
    for workers in "123":
        monkeypatch.setenv(ENV, workers)
        stage = Prepare(source={"jsonl": str(path)}, task=task, operators=operators)
        draft = Store(tmp_path / workers).draft(
            "0" * 64, kind="dataset", step="data", stage="prepare", inputs={}, settings={}
        )
        stage.run({}, draft, Events.silent())
        made = draft.commit()
        files = ("dataset.json", "journal.parquet", "train.parquet", "validation.parquet", "test.parquet")
        found.add(tuple((made.path / name).read_bytes() for name in files))
    assert len(found) == 1
