"""What the checks lean on: a small model whose training is a function of its seed."""

import torch

from danlu.plugins.backbones.bert import Bert
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing import partners
from danlu.testing.partners import Trial


def test_a_trial_learns_with_its_seed(monkeypatch):
    seeds = []
    monkeypatch.setattr(partners, "fit", lambda job, real=partners.fit: seeds.append(job.seed) or real(job))

    def learnt(seed):
        trial = Trial.of(TextClassification(), Bert(size="tiny", positions=32))
        trial.seed = seed  # weights of seed 0 in every trial
        return torch.cat([weight.detach().flatten() for weight in trial.fit(steps=3).module.parameters()])

    assert torch.equal(learnt(0), learnt(0))
    assert not torch.equal(learnt(0), learnt(1))
    assert seeds == [0, 0, 0, 1]
