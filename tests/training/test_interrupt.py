"""Ctrl-C and SIGTERM are taken at the end of a step, where the training is saved."""

import os
import signal
import threading

import pytest
from training_toys import Look, NoisyTagging, job, listen, weights_sha256

from danlu.core.events import Events
from danlu.training.interrupt import Interrupts
from danlu.training.loop import fit


@pytest.fixture(autouse=True)
def _interruptible():
    """A test run in the background of a shell is started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number, at):
    def see(run):
        if run.step == at:
            os.kill(os.getpid(), number)

    return Look(see)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_the_step_is_finished_and_saved_and_the_next_run_goes_on(tmp_path, number, raised):
    plain = job(NoisyTagging(), techniques=(Look(lambda run: None),))
    fit(plain)
    with pytest.raises(raised):
        fit(job(NoisyTagging(), work=tmp_path, techniques=(send(number, 4),)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    events, heard = listen(Events)
    again = job(NoisyTagging(), work=tmp_path, techniques=(Look(lambda run: None),), events=events)
    fitted = fit(again)
    assert fitted.resumed_at == 5
    assert "resumed at step 5 of 12" in [event.data.get("text") for event in heard]
    assert weights_sha256(again.module) == weights_sha256(plain.module)


def test_a_step_that_was_saved_is_not_saved_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(job(work=tmp_path, techniques=(send(signal.SIGINT, 4),), checkpoint_steps=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000004", "step-0000000005"]


def test_without_a_folder_it_only_ends():
    with pytest.raises(KeyboardInterrupt):
        fit(job(techniques=(send(signal.SIGINT, 4),)))


def test_the_second_one_is_taken_at_once():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.came == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_that_others_set_are_left_alone():
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(1))
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
        assert (came, interrupts.came) == ([1], None)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_may_train():
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(job(steps=2)).steps))
    thread.start()
    thread.join()
    assert found == [2]
