import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.runs import workers

ROOT = Path(__file__).parents[3]

PARENT = """
import os, time
from experiments.runs import workers
with workers.pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_keep_the_order_and_workers_end_with_the_pool():
    with workers.pool(1) as pool:
        assert list(pool.map(divmod, [7, 9], [2, 5])) == [(3, 1), (1, 4)]
        process = pool.submit(os.getpid).result()
        pool.submit(time.sleep, 600)
        assert process != os.getpid() and alive(process)
    assert not multiprocessing.active_children() and not alive(process)


def test_an_error_is_the_one_that_was_raised():
    with pytest.raises(ZeroDivisionError), workers.pool(1) as pool:
        pool.submit(divmod, 1, 0).result()


def test_a_worker_that_the_system_kills_is_told_in_one_sentence():
    killed = pytest.raises(ChildProcessError, match=r"a worker was killed.*memory.*grid\.workers=1")
    with killed, workers.pool(1) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        pool.submit(os.getpid).result()
    assert not multiprocessing.active_children()


def test_workers_end_with_a_parent_that_is_killed():
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert alive(worker)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)
