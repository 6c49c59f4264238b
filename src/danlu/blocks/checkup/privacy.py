"""Personal data: how many rows hold which kinds. No value is ever told."""

from __future__ import annotations

from collections import Counter

from danlu.blocks.checkup.finding import MOST_EXAMPLES, Finding, Mend, counted
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.personal import find_in
from danlu.blocks.tables import is_text

_SECRETS = {"url_credentials", "api_key"}


def check(subject: Subject) -> list[Finding] | str:
    """All columns of text are searched, also those that the task does not read."""
    names = [field.name for field in subject.table.schema if is_text(field.type)]
    if not names:
        return "there is no text"
    hit = {name: rows for name in names if (rows := find_in(subject.table.column(name)))}
    mend = Mend("mask_pii", {} if set(hit) <= set(subject.columns.ask) else {"columns": list(hit)})
    found = []
    for name, rows in hit.items():
        kinds = Counter(kind for ones in rows.values() for kind in {one.kind for one in ones})
        bars = [(kind.replace("_", " "), count) for kind, count in kinds.most_common()]
        examples = []
        if name in subject.text_columns:
            few = list(rows.items())[:MOST_EXAMPLES]
            examples = [subject.example(row, ", ".join(sorted({one.kind for one in ones}))) for row, ones in few]
        secrets = " or secrets" if _SECRETS & kinds.keys() else ""
        what = f"personal data{secrets} in {counted(len(rows), 'row', 'rows')} of the column {name!r}"
        why = "A model can repeat what it was trained on, and who stands in the data may ask for it to be removed."
        found.append(Finding(what, "warn", len(rows), why, len(rows) / subject.rows, [mend], examples, bars))
    return found
