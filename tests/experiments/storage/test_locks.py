import errno
import subprocess
import sys
import time

import pytest

from experiments.storage.locks import claimed

HOLDER = """
import sys, time
from pathlib import Path
from experiments.storage.locks import claimed
with claimed(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(600)
"""


def test_a_claim_excludes_others_until_it_ends(tmp_path):
    path = tmp_path / "claim"
    with claimed(path) as mine, claimed(path) as also_mine:
        assert mine and not also_mine
    with claimed(path) as mine:
        assert mine


def test_a_claim_ends_with_its_process(tmp_path):
    path = tmp_path / "claim"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"True\n"
    with claimed(path) as mine:
        assert not mine
    holder.kill()
    begin = time.monotonic()
    with claimed(path, wait=True) as mine:
        assert mine
    assert time.monotonic() - begin < 60
    holder.communicate()


def test_a_file_system_without_locks_is_told_with_the_file(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    refused = pytest.raises(OSError, match=r"No locks available: '.*claim'")
    with refused, claimed(tmp_path / "claim"):
        pytest.fail("never claimed")
