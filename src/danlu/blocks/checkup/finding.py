"""What a check of data says: findings, each with rows to look at and the operator that mends it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from danlu.blocks.personal import blacked

Severity: TypeAlias = Literal["stop", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The gravest first. `stop`: a number measured on these rows would mislead, or nothing can be learnt; `warn`: the model
gets worse, or a reviewer will ask; `note`: worth knowing."""

MOST_EXAMPLES = 5
_LONGEST = 240
_ORDER = (
    "mask_pii", "fix_encoding", "strip_html", "normalize", "drop_empty", "language", "length", "label_conflicts",
    "drop_duplicates", "near_duplicates", "decontaminate", "label_errors",
)  # fmt: skip
"""Personal data goes first, so that no later operator shows it; what changes a text stands before what compares it."""
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n|~)$)[A-Za-z_][A-Za-z0-9_]*", re.IGNORECASE)
_LONGEST_READ = 2000
"""Characters of a text that are searched for personal data before it is cut to be shown."""


@dataclass(frozen=True, slots=True)
class Mend:
    """An operator with its options, as a recipe writes it."""

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def written(self) -> str:
        """In YAML's flow style: `drop_duplicates`, or `{near_duplicates: {threshold: 0.8}}`."""
        if not self.options:
            return self.operator
        return _yaml({self.operator: self.options})

    @property
    def bare(self) -> str:
        """As an entry of a list in YAML's block style."""
        return self.written if not self.options else self.written[1:-1]


@dataclass(frozen=True, slots=True)
class Example:
    """A row to look at. `text` was made fit to show by `shown`; `picture` is a data URI."""

    row: int | None
    text: str
    told: str = ""
    """What there is to say of it."""
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: how much of it, why it matters, and what mends it."""

    what: str
    severity: Severity
    count: int
    why: str
    share: float | None = None
    mends: Sequence[Mend] = ()
    examples: Sequence[Example] = ()
    bars: Sequence[tuple[str, int]] = ()
    """Name → rows, to be drawn."""
    do: str = ""
    """What a person does where no operator mends it."""


def graded(share: float, least: float) -> Severity:
    """A warning from the share `least` on, below it a note."""
    return "warn" if share >= least else "note"


def counted(count: int, one: str, many: str) -> str:
    """`1 row says`, `2 rows say`."""
    return f"{count:,} {one if count == 1 else many}"


def shown(value: Any) -> str:
    """A cell fit for a report: personal data blacked out, on one line, cut when long."""
    text = value if isinstance(value, str) else "–" if value is None else json.dumps(value, default=str)
    text = " ".join(blacked(text[:_LONGEST_READ]).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def merged(present: Sequence[Mapping[str, Any]], mends: Sequence[Mend]) -> list[Mend]:
    """The operators of a recipe, each `{name: options}`, with the mends at their places.

    A mend that is there already with other options gains those it lacks.
    """
    options = {name: dict(given) for one in present for name, given in one.items()}
    for mend in mends:
        given = options.setdefault(mend.operator, {})
        for name, value in mend.options.items():
            held = given.get(name)
            if isinstance(value, list | tuple):
                given[name] = [*dict.fromkeys([*(held or ()), *value])]
            elif name not in given:
                given[name] = value
    ranked = sorted(options, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return [Mend(name, options[name]) for name in ranked]


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_yaml(part)}' for name, part in value.items())}}}"
    return json.dumps(value)
