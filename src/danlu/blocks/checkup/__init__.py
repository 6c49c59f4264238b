"""Look at data before anything is trained on it: what would spoil a model or a measurement, and what mends it.

A check is a function of a `Subject` that gives findings, or says why it did not look.
"""

from danlu.blocks.checkup.finding import SEVERITIES, Example, Finding, Mend, Severity, merged
from danlu.blocks.checkup.running import CHECKS, Checked, run
from danlu.blocks.checkup.subject import Limit, Subject

__all__ = [
    "CHECKS", "SEVERITIES", "Checked", "Example", "Finding", "Limit", "Mend", "Severity", "Subject", "merged", "run",
]  # fmt: skip
