"""Metrics of preferences: how often the better answer has the higher score, and by how much."""

import math

import numpy as np
import pytest

from danlu.plugins.metrics.preference_accuracy import PreferenceAccuracy
from danlu.plugins.metrics.preference_margin import PreferenceMargin
from danlu.plugins.tasks.preference import Preference


def conforming(folder):
    partners = {"tasks": Preference(template="plain", length=64, objective="orpo")}
    return {"preference_accuracy": {"partners": partners}, "preference_margin": {"partners": partners}}


def test_metrics_of_preferences():
    answers = [{"scores": [0.8, 0.2]}, {"scores": [0.2, 0.8]}, {"scores": [0.5, 0.5]}, {"scores": [1.0, 0.0]}]
    gold = [{"order": [0, 1]}] * 4
    found = PreferenceAccuracy()
    assert found.value(found.read(answers, gold), np.ones(4)) == pytest.approx(2.5 / 4)
    margin = PreferenceMargin()
    assert margin.read(answers, gold)[:3].tolist() == pytest.approx([math.log(4), -math.log(4), 0])
    assert np.isfinite(margin.read(answers, gold)).all()
