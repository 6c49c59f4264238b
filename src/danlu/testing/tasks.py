"""What tasks promise: inverses that are inverses, a loss of one sum per example, answers that can be compared."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import jsonschema
import numpy as np
import torch

from danlu.blocks.tensors import to_torch
from danlu.contracts import Batch, Example, Task
from danlu.core.errors import DataError
from danlu.testing.partners import ENOUGH, Trial, learnt, trial_for
from danlu.testing.subject import ConformanceError, Subject, check, require

_NEAR = 1e-4


def _trial(subject: Subject, *, seed: int = 0) -> Trial:
    return trial_for(subject, seed=seed)


@check("tasks")
def check_the_sample_is_what_it_says(subject: Subject) -> None:
    """`sample(n)` gives n rows, the same every time, that hold the columns it reads."""
    task: Task = subject.plugin
    for n in (1, 2, 9):
        require(len(task.sample(n)) == n, f"sample({n}) gives {len(task.sample(n))} rows")
    require(repr(task.sample(9)) == repr(task.sample(9)), "the sample is another the second time")
    trial = _trial(subject)
    columns = trial.task.columns()
    missing = {*columns.ask, *columns.gold} - trial.rows[0].keys()
    require(not missing, f"its sample has no column {', '.join(sorted(missing))}")


@check("tasks")
def check_a_row_and_its_answer_are_inverse(subject: Subject) -> None:
    """The row made of an input and an answer gives the same input to `ask`, and the same answer to `gold`."""
    trial = _trial(subject)
    task = trial.task
    for row in trial.rows:
        x, gold = task.ask(row), task.gold(row)
        require(gold is not None, "a row of its sample has no true answer")
        made = task.row(x, gold)
        require(
            _same(_encoded(trial, task.ask(made)), _encoded(trial, x)), "ask(row(x, answer)) is another input than x"
        )
        require(task.distance(task.gold(made), gold) == 0, "gold(row(x, answer)) is another answer")
    without = {name: value for name, value in trial.rows[0].items() if name not in task.columns().gold}
    require(task.gold(without) is None, "gold() gives a true answer for a row that has none")


@check("tasks")
def check_a_request_survives_json(subject: Subject) -> None:
    """`from_json(to_json(x))` is x for the model, through real JSON, and matches the schema of a request."""
    trial = _trial(subject)
    for x in trial.inputs[:4]:
        value = json.loads(json.dumps(trial.task.to_json(x)))
        jsonschema.validate(value, trial.task.request_schema())
        require(
            _same(_encoded(trial, trial.task.from_json(value)), _encoded(trial, x)),
            "an input changes on its way through JSON",
        )


@check("tasks")
def check_what_is_no_input_is_refused(subject: Subject) -> None:
    """A request that is nothing of the kind is a DataError, and fails alone among good ones."""
    trial = _trial(subject)
    strange: list[Any] = [None, {"no": "input"}, [[]]]
    for value in strange:
        try:
            trial.task.from_json(value)
        except DataError:
            continue
        except Exception as error:
            raise ConformanceError(
                f"the request {value!r} raises {type(error).__name__}, not DataError: {error}"
            ) from error
        require(False, f"the request {value!r} is accepted")
    good = trial.inputs[:2]
    found = trial.predictor().try_all([good[0], object(), good[1]])
    require(isinstance(found[1], DataError), f"an object as an input gives {found[1]!r}")
    far = trial.distance(trial.predictor()(good), [found[0], found[2]])
    require(far < 1e-4, f"a bad input among good ones moves their answers by {far:.2g}")


@check("tasks")
def check_examples_are_not_random(subject: Subject) -> None:
    """Examples and encodings are the same every time; `vary` draws from its generator alone and changes no argument."""
    trial = _trial(subject)
    for row in trial.rows[:4]:
        once, again = (trial.task.examples(row, trial.processor) for _ in range(2))
        require(_same(once, again), "examples() gives others the second time; randomness belongs into vary()")
        kept = copy.deepcopy(once)
        varied = [[trial.task.vary(example, np.random.default_rng(7)) for example in once] for _ in range(2)]
        require(_same(*varied), "vary() draws from another generator than the one it is given")
        require(_same(once, kept), "vary() changes the example it is given")
    x = trial.inputs[0]
    require(_same(_encoded(trial, x), _encoded(trial, x)), "encode() gives others the second time")


@check("tasks")
def check_the_loss_is_one_sum_per_example(subject: Subject) -> None:
    """`loss` has shape [n], and is the same for an example alone and in a batch: it takes no mean.

    One that is contrastive (`gives` says `loss: contrastive`) tells the examples of a batch from one another, so alone
    there is less to lose.
    """
    trial = _trial(subject)
    examples = [e for row in trial.rows[:6] for e in trial.task.examples(row, trial.processor)]
    together = _loss(trial, examples)
    require(
        tuple(together.shape) == (len(examples),),
        f"the loss of {len(examples)} examples has shape {list(together.shape)}",
    )
    alone = torch.cat([_loss(trial, [example]) for example in examples])
    if trial.task.gives.get("loss") == "contrastive":
        more = (alone - together).max().item()
        require(more < 1e-4, f"an example alone loses {more:.2g} more than among others it must be told from")
    else:
        gap = (together - alone).abs().max().item()
        what = f"the loss of an example is another in a batch, by {gap:.2g}: a mean, or padding that counts"
        require(gap < 1e-4, what)
    require(bool(torch.isfinite(together).all()), "the loss is not finite")
    require(all(example.count > 0 for example in examples), "an example counts for nothing")


@check("tasks")
def check_answers_can_be_compared(subject: Subject) -> None:
    """`distance` is 0 for the same answer, symmetric, at most 1, and not 0 for all true answers."""
    trial = _trial(subject)
    answers = [*map(trial.task.gold, trial.rows), *trial.predictor()(trial.inputs)]
    distances = []
    for a in answers:
        require(trial.task.distance(a, copy.deepcopy(a)) == 0, f"an answer is not at distance 0 of itself: {a}")
        for b in answers:
            d = trial.task.distance(a, b)
            require(0 <= d <= 1 + 1e-9, f"a distance is {d:.3g}; it has no unit and is at most 1")
            require(abs(d - trial.task.distance(b, a)) < 1e-9, "distance(a, b) differs from distance(b, a)")
            distances.append(d)
    require(max(distances) > 0, "all answers are at distance 0 of each other")


@check("tasks")
def check_answers_match_their_schema(subject: Subject) -> None:
    """An answer is JSON and matches `answer_schema`; so does the truth."""
    trial = _trial(subject)
    schema = trial.task.answer_schema()
    for answer in [*trial.predictor()(trial.inputs[:4]), *map(trial.task.gold, trial.rows[:4])]:
        try:
            jsonschema.validate(json.loads(json.dumps(answer)), schema)
        except (TypeError, ValueError, jsonschema.ValidationError) as error:
            raise ConformanceError(f"an answer is not what its schema says: {str(error).splitlines()[0]}") from error


@check("tasks")
def check_a_stream_is_the_answer(subject: Subject) -> None:
    """A stream ends with the answer that a batch gives; its pieces, where there are any, join to a text in it."""
    trial = _trial(subject)
    predictor = trial.predictor()
    for x, answer in zip(trial.inputs[:4], predictor(trial.inputs[:4]), strict=True):
        *pieces, (_, last) = predictor.stream(x)
        require(trial.task.distance(last, answer) <= _NEAR, "a stream ends with another answer than a batch gives")
        texts = answer.values() if isinstance(answer, Mapping) else [answer]
        told = "".join(map(str, pieces))
        require(not pieces or told in texts, f"the pieces of a stream join to {told!r}, which is not in the answer")


@check("tasks")
def check_the_sample_can_be_learnt(subject: Subject) -> None:
    """A tiny model gets most of the sample wrong before training, and 95 % of it right after."""
    before = min(_trial(subject, seed=seed).right() for seed in range(3))
    require(before < 0.9, f"an untrained model gets {before:.0%} of the sample right, so nothing is learnt from it")
    _, after = learnt(partial(_trial, subject))
    require(after >= ENOUGH, f"after training {after:.0%} of the sample is right")


def _encoded(trial: Trial, x: Any) -> list[Example]:
    return trial.task.encode(x, trial.processor)


def _loss(trial: Trial, examples: list[Example]) -> torch.Tensor:
    batch: Batch = to_torch(trial.task.collate(examples, trial.processor))
    with torch.no_grad():
        model = trial.module.eval()
        return trial.task.loss(trial.task.forward(model, batch), batch)


def _same(a: list[Example], b: list[Example]) -> bool:
    def equal(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
        return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)

    pairs = zip(a, b, strict=True)
    return len(a) == len(b) and all(
        equal(x.inputs, y.inputs) and equal(x.targets, y.targets) and x.count == y.count for x, y in pairs
    )
