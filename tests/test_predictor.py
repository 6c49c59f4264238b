"""Many talks, one model: the same answers as alone, whatever the others do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.contracts import Delta, Example
from danlu.core.errors import DataError, RecipeError
from danlu.predictor import Predictor
from talks import Form, Talking, predictor

EXAMPLE = st.tuples(st.sampled_from(["a", "bb"]), st.lists(st.integers(1, 9), min_size=1, max_size=5))
STEP = st.one_of(
    st.lists(EXAMPLE, max_size=4),
    st.sampled_from(["hello", "…"]),
    st.just("raise"),
    st.just([("a", [-7])]),
    st.just("bug"),
)
SCRIPT = st.lists(STEP, max_size=5)


def alone(script):
    """What a talk says when nobody else is there: its pieces, then its answer or the kind of its fault."""
    said = []
    try:
        for event in predictor(Form(poison=-7), batch_size=1).stream(script):
            said.append(event)
    except DataError as fault:
        said.append(type(fault.__cause__))
    return said


def kind(event):
    return type(event[1]) if not isinstance(event, Delta) and event[0] == "fault" else event


VISIT = st.tuples(SCRIPT, st.integers(0, 6), st.one_of(st.none(), st.integers(0, 8)))


@settings(max_examples=300, deadline=None)
@given(visits=st.lists(VISIT, max_size=8), size=st.integers(1, 5))
def test_together_as_alone_and_who_leaves_disturbs_nobody(visits, size) -> None:
    rounds = predictor(Form(poison=-7), size).rounds()
    said: dict[int, list] = {}
    tickets: dict[int, int] = {}
    for now in range(20):
        for k, (script, joins, _) in enumerate(visits):
            if joins == now:
                tickets[k], events = rounds.join(script)
                said[k] = [kind(event) for event in events]
        for k, (_, joins, leaves) in enumerate(visits):
            if leaves is not None and max(joins, leaves) == now:
                rounds.leave(tickets[k])
        for ticket, event in rounds.round():
            k = next(k for k, other in tickets.items() if other == ticket)
            said[k].append(kind(event))
            assert visits[k][2] is None or now < max(visits[k][1:])
    assert len(rounds) == 0
    for k, (script, _, leaves) in enumerate(visits):
        expected = alone(script)
        assert said[k] == expected[: len(said[k])]
        assert leaves is not None or said[k] == expected


@settings(max_examples=50, deadline=None)
@given(scripts=st.lists(SCRIPT, max_size=30), size=st.integers(1, 5))
def test_answers_come_in_the_order_of_the_inputs(scripts, size) -> None:
    answers = predictor(Form(poison=-7), size).try_all(scripts)
    for script, answer in zip(scripts, answers, strict=True):
        *_, last = alone(script)
        assert (type(answer) if isinstance(answer, Exception) else ("answer", answer)) == last


def test_more_inputs_than_are_joined_at_once() -> None:
    scripts = [[[("a", [k % 9 + 1])]] for k in range(500)]
    answers = predictor(batch_size=2).try_all(scripts)
    assert [answer[0][0][1][0] for answer in answers] == [2 * (k % 9 + 1) for k in range(500)]


def test_batches_are_cut_by_length_and_by_the_names_of_arrays() -> None:
    form = Form()
    predictor(form, 2)([[[("a", [1] * n), ("bb", [1] * n)]] for n in (5, 1, 4, 2)])
    assert form.shapes == [{"a": (2, 5)}, {"a": (2, 2)}, {"bb": (2, 5)}, {"bb": (2, 2)}]


def test_a_long_talk_and_short_ones_share_the_passes() -> None:
    form = Form()
    predictor(form, 8)([[[("a", [1])]] * 3, [[("a", [1])]], [[("a", [1])]]])
    assert [shape["a"][0] for shape in form.shapes] == [3, 1, 1]


def test_a_bad_input_is_named_by_its_place() -> None:
    model = predictor(Form(poison=7))
    with pytest.raises(DataError, match=r"input 1: talking can't answer it: RuntimeError: the model choked"):
        model([[[("a", [1])]], [[("a", [7])]], [[("a", [2])]]])
    good, bad, other = model.try_all([[[("a", [1])]], [[("a", [7])]], [[("a", [2])]]])
    assert (good, other) == ([[(1, [2])]], [[(2, [4])]])
    assert isinstance(bad, RuntimeError)


def test_a_data_error_keeps_its_words_and_others_their_class() -> None:
    class Refusing(Talking):
        def answer(self, x, processor):
            raise x
            yield []

    model = Predictor(Form(), Refusing(), None)
    with pytest.raises(DataError, match=r"input 0, a\.png: not a picture\n  → look"):
        model([DataError("not a picture", where="a.png", do="look")])
    with pytest.raises(RecipeError, match="no columns"):
        model([RecipeError("no columns")])


@pytest.mark.parametrize("inputs", ["text", b"bytes", {"text": "a row"}, None, 5, (x for x in "ab")])
def test_what_is_not_a_list_of_inputs_is_refused(inputs) -> None:
    with pytest.raises(DataError, match="give a list of inputs, not one"):
        predictor()(inputs)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match="a batch holds at least one example, not 0"):
        predictor(batch_size=0)


def test_a_form_that_loses_rows_is_found_out() -> None:
    class Losing(Form):
        def forward(self, inputs):
            return {"sum": np.zeros(1)}

    with pytest.raises(DataError, match="the output 'sum' has 1 rows for a batch of 2"):
        predictor(Losing())([[[("a", [1]), ("a", [2])]]])


def test_listening_hears_what_the_model_is_asked_and_only_meanwhile() -> None:
    model = predictor(batch_size=2)
    model([[[("a", [9])]]])
    with model.listen() as calls:
        model([[[("a", [1, 2])]], [[("a", [3])]]])
    model([[[("a", [9])]]])
    assert [{name: array.tolist() for name, array in call.items()} for call in calls] == [{"a": [[1, 2], [3, 0]]}]


class Watching(Talking):
    """Knows how many talks were closed; complains when it is sent away."""

    def __init__(self) -> None:
        self.closed = 0

    def answer(self, x, processor):
        try:
            return (yield from super().answer(x, processor))
        finally:
            self.closed += 1
            raise ValueError("not yet")


def test_closing_a_stream_ends_the_talk() -> None:
    task = Watching()
    events = Predictor(Form(), task, None).stream(["one", [("a", [1])], "two"])
    assert next(events) == "one"
    events.close()
    assert task.closed == 1


def test_a_fault_of_the_model_ends_the_talk() -> None:
    task = Watching()
    rounds = Predictor(Form(poison=1), task, None).rounds()
    ticket, _ = rounds.join([[("a", [1])]])
    ((told, (kind_, fault)),) = rounds.round()
    assert (told, kind_, str(fault), task.closed) == (ticket, "fault", "the model choked", 1)


# ---- a form with a memory ----------------------------------------------------------------------------------------------


class Remembering(Form):
    """Goes on from the sum of what came before; the state is (how many, the sum)."""

    def __init__(self, works: bool = True) -> None:
        super().__init__()
        self.works, self.resumed, self.done = works, [], []

    def resume(self, examples):
        if not self.works:
            return None
        self.resumed.append(len(examples))
        found = []
        for example in examples:
            values = example.inputs["a"]
            done, total = example.state or (0, 0)
            self.done.append(done)
            total = total + values[done:].sum()
            found.append(({"sum": np.array(total), "double": values * 2}, (len(values), total)))
        return found


class Generating(Talking):
    """Asks again and again with one more value: the sum it heard; ends after `x` steps."""

    def answer(self, x, processor):
        prefix, state = [1], None
        for _ in range(x):
            example = Example({"a": np.array(prefix)}, keep=True, state=state)
            (outputs,) = yield [example]
            state = example.state
            prefix.append(int(outputs["sum"]))
            yield Delta(prefix[-1])
        return prefix


def test_talks_that_go_on_are_resumed_together_and_recomputed_where_there_is_no_memory() -> None:
    with_memory, without = Remembering(), Remembering(works=False)
    lengths = [3, 1, 5]
    expected = [[1, 1, 2, 4][: n + 1] if n < 4 else [1, 1, 2, 4, 8, 16] for n in lengths]
    assert Predictor(with_memory, Generating(), None)(lengths) == expected
    assert Predictor(without, Generating(), None)(lengths) == expected
    assert with_memory.resumed == [3, 2, 2, 1, 1]
    assert with_memory.done == [0, 0, 0, 1, 1, 2, 2, 3, 4]
    assert with_memory.shapes == []
    assert without.resumed == []


def test_talks_with_a_memory_wait_until_a_batch_has_room_for_them() -> None:
    form = Remembering()
    assert Predictor(form, Generating(), None, 2)([2, 3, 1, 1]) == [[1, 1, 2], [1, 1, 2, 4], [1, 1], [1, 1]]
    assert form.resumed == [2, 2, 2, 1]


def test_a_memory_that_fails_is_done_without() -> None:
    class Failing(Remembering):
        def resume(self, examples):
            raise RuntimeError("no room")

    assert Predictor(Failing(), Generating(), None)([3]) == [[1, 1, 2, 4]]
