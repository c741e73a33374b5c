"""Ctrl-C, sent as a terminal does: to the process itself, once and twice."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from experiments.commands.interruption import INTERRUPTED, STATUS, at_once, deferred

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


AT_ONCE = """
import os, pathlib, signal, sys
from experiments.commands.interruption import at_once, deferred
with at_once(pathlib.Path(sys.argv[1])):
    try:
        with deferred():
            os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        print("deferred", flush=True)
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        print("never", flush=True)
"""


@pytest.mark.parametrize("empty", [True, False])
def test_outside_of_pieces_of_work_the_process_ends_at_once(tmp_path, empty):
    folder = tmp_path / "run"
    folder.mkdir()
    if not empty:
        (folder / "notes").write_bytes(b"")
    done = subprocess.run([sys.executable, "-c", AT_ONCE, folder], capture_output=True)
    assert (done.returncode, done.stdout) == (STATUS, b"deferred\n")
    assert done.stderr.endswith(INTERRUPTED)
    assert folder.exists() != empty


def test_afterwards_an_interrupt_is_an_exception_again(tmp_path):
    with at_once(tmp_path):
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupt()
