"""A recipe of toy stages, and what was heard of its runs."""

from danlu.core import runs
from danlu.core.events import Events

GARDEN = """
name: garden
steps:
  data: {do: toy_sow, words: words.txt}
  tuned: {do: toy_grow, backbone: toy_counts}
  score: {do: toy_pick}
  ship: {do: toy_ship}
"""


def statuses(plan, store):
    return {p.step.name: p.status for p in plan.preview(store)}


def heard(plan, store, kind):
    events = []
    plan.run(store, Events([events.append]))
    return [event.step for event in events if event.kind == kind]


def last(store):
    return runs.all_runs(store.runs)[0]
