"""The evaluation report: one HTML file that needs no network and no script, drawn from `scores.json` alone."""

from danlu.blocks.report.page import page as page
