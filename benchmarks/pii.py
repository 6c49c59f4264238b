"""How much personal data do the recognisers of `danlu.blocks.personal` find, how much is none, how long does it take?

    python benchmarks/pii.py                      12,000 generated sentences: recall, precision, time
    python benchmarks/pii.py --faults 20          shows the first faults of every kind too
    python benchmarks/pii.py --real [--show]      what is found in movie-snippets and chinese-reviews
    python benchmarks/pii.py --linear             200 KB against 1 MB of texts that make patterns backtrack

Values come from faker in eight locales, or are built here from the formats' own definitions where faker has none (MRZ,
keys, new-energy plates); no code of the recognisers is used. A planted value is found when one of its kind covers it
whole; what is found is right when it overlaps a planted value of its kind. Every second sentence holds traps only.

An order number that is drawn at random has a valid Luhn digit and the prefix of a card issuer now and then. Nothing in
the number tells it from a card, so precision is given twice: with these as faults, and without.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable

import pyarrow as pa
from pii_sentences import Sentence, sentences
from pii_values import seed

from danlu.blocks.personal import KINDS, find, find_in
from danlu.plugins.sources.asset import Asset

CHECKED = ("bank_card", "iban", "resident_id")


def judge(made: list[Sentence], faults: int) -> bool:
    all_found = find([one.text for one in made])
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    shown: dict[str, list[str]] = defaultdict(list)
    for one, found in zip(made, all_found, strict=True):
        for kind, start, end in one.planted:
            hit = any(f.kind == kind and f.start <= start and f.end >= end for f in found)
            counts[kind]["planted"] += 1
            counts[kind]["hit"] += hit
            counts[kind]["exact"] += any((f.kind, f.start, f.end) == (kind, start, end) for f in found)
            if not hit:
                shown[kind].append(f"missed  {one.text[start:end]!r} in {one.text!r}")
        for f in found:
            right = any(f.kind == kind and f.start < end and start < f.end for kind, start, end in one.planted)
            doubt = f.kind == "bank_card" and any(f.start < end and start < f.end for start, end in one.ambiguous)
            counts[f.kind]["right" if right else "ambiguous" if doubt else "wrong"] += 1
            if not right and not doubt:
                shown[f.kind].append(f"wrong   {one.text[f.start : f.end]!r} in {one.text!r}")
    total: Counter[str] = sum(counts.values(), Counter())
    ok = True
    print(f"{len(made):,} sentences, {sum(not one.planted for one in made):,} of them with traps only")
    print(
        "| kind | planted | recall | exact | found | precision | with Luhn-valid order numbers as faults |\n"
        + "| --- " * 7
        + "|"
    )
    for kind, c in [*((kind, counts[kind]) for kind in KINDS), ("all", total)]:
        found = c["right"] + c["wrong"]
        recall, precision = c["hit"] / c["planted"], c["right"] / found
        strict = c["right"] / (found + c["ambiguous"])
        shares = [f"{share:.4f}" for share in (recall, c["exact"] / c["planted"])]
        row = [kind, f"{c['planted']:,}", *shares, f"{found + c['ambiguous']:,}", f"{precision:.4f}", f"{strict:.4f}"]
        print(f"| {' | '.join(row)} |")
        ok &= kind not in (*CHECKED, "all") or (recall >= 0.99 and strict >= 0.95)
    for kind, lines in shown.items():
        print(*[f"{kind}: {line}" for line in lines[:faults]], sep="\n", end="\n" * bool(lines[:faults]))
    return ok


def clock(made: list[Sentence]) -> None:
    texts = [one.text for one in made]
    size = sum(len(text.encode()) for text in texts) / 1024
    column = pa.chunked_array([texts])
    for name, run in (
        ("find, a text at a time", lambda: find(texts)),
        ("find_in, an Arrow column", lambda: find_in(column)),
    ):
        best = min(processor_time(run) for _ in range(3))
        print(f"{name}: {best / size * 1000:.4f} ms per KB ({size:,.0f} KB, {size / 1024 / best:.1f} MB/s)")


def processor_time(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def real(show: bool) -> None:
    for name in ("movie-snippets", "chinese-reviews"):
        source = Asset(asset=name)
        table = pa.Table.from_batches([batch for split in source.splits() or ("",) for batch in source.rows(split)])
        texts = [table.column(f.name) for f in table.schema if pa.types.is_string(f.type)]
        column = max(texts, key=lambda one: one.nbytes)
        found = find_in(column)
        kinds = Counter(f.kind for ones in found.values() for f in ones)
        size = sum(len(text.encode()) for text in column.to_pylist() if text) / 1024
        best = min(processor_time(lambda column=column: find_in(column)) for _ in range(3))
        print(f"{name}: {len(column):,} rows, {size:,.0f} KB, {best / size * 1000:.4f} ms per KB")
        print(f"found {dict(kinds)} in {len(found)} rows")
        for row, ones in found.items() if show else ():
            text = column[row].as_py()
            for f in ones:
                before, after = text[max(0, f.start - 30) : f.start], text[f.end : f.end + 20]
                print(f"  {f.kind}: …{before}⟦{text[f.start : f.end]}⟧{after}…")


HARD = (
    "1", "1 ", "1-", "0", "aaaa@", "a@a.", "a.", "(((((", "a:", ":", "1.", "1.1.", "+1 ", "://a:",
    "?key=", "key=", "A1", "DE89 ", "<", "P<", "eyJa.",
    "-----BEGIN PRIVATE KEY-----", "passport A1", "plate A1 ",
    "call ", "order no ", "京A", "１", "1\u200b", "\u200b", "sk-a", "token " ,
)  # fmt: skip


def linear() -> bool:
    ok = True
    for piece in HARD:
        small, large = (piece * (size // len(piece)) for size in (200_000, 1_000_000))
        times = [min(processor_time(lambda text=text: find([text])) for _ in range(2)) for text in (small, large)]
        ratio = times[1] / max(times[0], 1e-4)
        ok &= ratio < 10
        print(f"{piece!r}: {times[0] * 1000:.1f} ms, {times[1] * 1000:.1f} ms, {ratio:.1f} times for 5 times the text")
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faults", type=int, default=0)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--linear", action="store_true")
    given = parser.parse_args()
    if given.real:
        real(given.show)
        return 0
    if given.linear:
        return 0 if linear() else 1
    seed(given.seed)
    made = sentences(given.sentences)
    ok = judge(made, given.faults)
    clock(made)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
