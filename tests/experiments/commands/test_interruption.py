"""Ctrl-C, sent as a terminal does: to the process itself, once and twice."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from experiments.commands.interruption import STATUS, deferred

TWICE = """
import os, signal
from experiments.commands.interruption import deferred
with deferred() as check:
    os.kill(os.getpid(), signal.SIGINT)
    print("goes on", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("never", flush=True)
"""


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """Raise KeyboardInterrupt outside of the context, whatever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_work_goes_on_to_the_end_of_its_piece(capfd):
    reached = []
    with pytest.raises(KeyboardInterrupt), deferred() as check:
        check()
        interrupt()
        reached.append("the rest of the piece")
        check()
        reached.append("the next piece")
    assert reached == ["the rest of the piece"]
    assert "Ctrl-C again" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):  # it is raised at once again
        interrupt()


def test_an_interruption_is_not_lost_if_no_piece_follows():
    with pytest.raises(KeyboardInterrupt), deferred():
        interrupt()


def test_an_error_of_the_work_is_not_hidden():
    with pytest.raises(ZeroDivisionError), deferred():
        interrupt()
        raise ZeroDivisionError


def test_a_second_one_ends_the_process_at_once():
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True)
    assert done.returncode == STATUS and done.stdout == "goes on\n"


def test_other_threads_have_no_handler():
    found = []

    def work():
        with deferred() as check:
            found.append(check())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
