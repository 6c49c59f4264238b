import threading

import numpy as np
import pytest

from danlu.serving.lone import LoneForm

ONE, TWO = {"x": np.zeros((1, 3))}, {"x": np.zeros((2, 3))}


class Named:
    def __init__(self, name, before=lambda: None):
        self.name, self.before, self.module = name, before, name

    def forward(self, inputs):
        self.before()
        return {"name": self.name}

    def resume(self, examples):
        return [self.name, *examples]


def test_one_example_alone_takes_all_cores_and_a_batch_does_not():
    form = LoneForm(Named("shared"), Named("lone"))
    assert [form.forward(inputs)["name"] for inputs in (ONE, TWO, ONE)] == ["lone", "shared", "lone"]
    assert (form.module, form.resume([1])) == ("shared", ["shared", 1])


def test_beside_another_pass_it_is_shared_and_afterwards_alone_again():
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go_on.wait(30)

    form = LoneForm(Named("shared"), Named("lone", wait))
    thread = threading.Thread(target=form.forward, args=(ONE,))
    thread.start()
    assert inside.wait(30)
    assert form.forward(ONE)["name"] == "shared"
    go_on.set()
    thread.join(30)
    assert form.forward(ONE)["name"] == "lone"


def test_a_pass_that_fails_leaves_no_trace():
    form = LoneForm(Named("shared"), Named("lone", lambda: 1 / 0))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="division by zero"):
            form.forward(ONE)
