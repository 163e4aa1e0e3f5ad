"""Signals: what they ask for, and when."""

import os
import signal
import threading

import pytest

from jaxtrack.training.stopping import stopping_on_signals, uninterrupted


def send(number):
    os.kill(os.getpid(), number)


def test_sigterm_asks_to_stop_and_says_so(capfd):
    with stopping_on_signals() as stop:
        assert not stop.asked
        send(signal.SIGTERM)
        assert (stop.asked, stop.interrupted) == (True, False)
        assert capfd.readouterr().err == "SIGTERM: stopping after this step, with a checkpoint\n"


def test_ctrl_c_asks_to_stop_and_says_so_and_once_more_stops(capfd):
    with stopping_on_signals() as stop:
        send(signal.SIGINT)
        assert (stop.asked, stop.interrupted) == (True, True)
        with pytest.raises(KeyboardInterrupt, match="the same command goes on from the last checkpoint"):
            send(signal.SIGINT)
    assert (
        capfd.readouterr().err
        == "stopping after this step, with a checkpoint; Ctrl-C once more stops now, without one\n"
    )


def test_ctrl_c_stops_at_once_what_sigterm_has_not_stopped_yet():
    with stopping_on_signals() as stop:
        send(signal.SIGTERM)
        send(signal.SIGINT)
        assert stop.interrupted


def test_signals_do_afterwards_what_they_did_before():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stopping_on_signals(), uninterrupted():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_ctrl_c_waits_for_what_may_not_be_interrupted():
    done = []

    @uninterrupted()
    def work():
        send(signal.SIGINT)
        done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]


def test_other_threads_are_not_interrupted_anyway():
    found = []

    def run():
        with uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
