"""Train every weight."""

from __future__ import annotations

from danlu.contracts import Method


class Full(Method):
    """The usual choice where memory allows it: a gradient and two moments are kept for every weight."""
