"""Text from data, made fit to print: nothing in it steers a terminal or passes itself off as something else."""

from __future__ import annotations

import re

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters save tab and line feed, line separators, changes of direction, halves of surrogate pairs."""


def printable(text: str) -> str:
    r"""The text with what could steer a terminal written out: `\x1b`, `\r`, `\u202e`."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
