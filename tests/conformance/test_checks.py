from typing import ClassVar

import pytest

from conformance.broken import Meddling, Silent
from conformance.broken_data import Unpointed
from danlu.contracts import Delta, Method, Source
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing import checks
from danlu.testing import tasks as task_checks
from danlu.testing.bag import Bag
from danlu.testing.subject import Subject


class Everything(Method):
    """A stranger's method."""


class Both(Silent, Meddling):
    """Wrong in two ways."""


class Scented(Bag):
    """A backbone of a modality that no task has."""

    wants = {"modality": ("smell",)}


class Spelling(TextClassification):
    """Says its label letter by letter."""

    def answer(self, x, processor):
        answer = yield from super().answer(x, processor)
        for letter in answer["label"]:
            yield Delta(letter)
        return answer


class Seen(Bag):
    """Notes that it was asked."""

    asked: ClassVar[list] = []

    def learn(self, inputs):
        self.asked.append("learn")
        return super().learn(inputs)


def test_run_names_what_was_passed():
    passed = checks.run(Everything)
    assert passed == [check.__name__ for check in checks.checks_for("methods")]
    assert {"check_it_is_documented", "check_merging_keeps_the_answers"} <= set(passed)


def test_run_takes_a_plugin_with_its_options():
    assert checks.run(plugin.load("sources", "synthetic")(size=5))


def test_run_tells_every_fault():
    message = r"(?s)^Both fails 2 of \d+ checks\n.*the option size has no docstring.*\n.*wrap\(\) changes the weight"
    with pytest.raises(checks.ConformanceError, match=message):
        checks.run(Both)


def test_run_uses_the_partner_that_is_named():
    checks.run(TextClassification, backbone=Seen())
    assert Seen.asked


def test_a_class_that_needs_options_is_to_be_made_first():
    with pytest.raises(
        RecipeError, match=r"(?s)Unpointed has options without a default.*checks.run\(Unpointed\(option"
    ):
        checks.run(Unpointed)


def test_a_plugin_that_fits_nothing_asks_for_a_partner():
    with pytest.raises(RecipeError, match=r"(?s)no task fits.*checks.run\(…, task=…\)"):
        checks.run(Scented)


def test_families_share_the_general_checks():
    general = checks.checks_for("no such family")
    assert len(general) == 6
    assert checks.checks_for("sources")[:6] == general
    assert Source.family == "sources"


def test_a_task_may_stream_a_text_of_its_answer(tmp_path):
    task_checks.check_a_stream_is_the_answer(Subject(Spelling(text="text", label="label"), tmp_path))
