"""What happened while the rows were read: rows that can't be, and what was guessed."""

from __future__ import annotations

import re

from danlu.blocks.checkup.finding import Example, Finding, counted, shown
from danlu.blocks.checkup.subject import Subject

_SKIPPED = re.compile(r"^([\d,]+) of ([\d,]+) .* can't be read")


def check(subject: Subject) -> list[Finding]:
    """Rows skipped are a warning, with the first few; an encoding that was guessed is a note."""
    why = "Columns under a wrong name are columns that nobody finds."
    mend = "write `{}` among the source's options, if it is so"
    found = [Finding(shown(what), "warn", 0, why, do=mend.format(option)) for what, option in subject.doubts]
    notes = list(subject.notes)
    while notes:
        note = notes.pop(0)
        skipped = _SKIPPED.match(note)
        if not skipped:
            found.append(
                Finding(shown(note), "note", 0, "A guess can be wrong; name the right one in the source's options.")
            )
            continue
        examples = []
        while notes and notes[0].startswith("  "):
            examples.append(Example(None, shown(notes.pop(0).strip())))
        count, total = (int(part.replace(",", "")) for part in skipped.groups())
        what = f"{count:,} of {counted(total, 'row', 'rows')} can't be read"
        why = "A run stops at the first of them, unless its source says `on_error: skip`."
        do = "mend the rows, or give the source `on_error: skip`, which counts them"
        found.append(Finding(what, "warn", count, why, count / total, examples=examples, do=do))
    return found
