"""Circumstances of a measurement, against git, the clock and the installed packages."""

import os
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version

from experiments.storage import measured


def test_circumstances_say_when_where_and_by_what():
    told = measured.circumstances()
    assert abs(date.fromisoformat(told["date"]) - datetime.now(UTC).date()) <= timedelta(days=1)
    assert told["versions"]["jax"] == version("jax")
    assert f"{len(os.sched_getaffinity(0))} cores" in told["machine"]
    assert told["commit"] == measured.commit()


def test_commit_says_if_files_that_matter_differ(tmp_path, monkeypatch):
    def git(*arguments):
        told = ["-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        done = subprocess.run(["git", *told], cwd=tmp_path, capture_output=True, check=True)
        return done.stdout.decode().strip()

    monkeypatch.setattr(measured, "ROOT", tmp_path)
    assert measured.commit() == "unknown"
    git("init", "-q")
    (tmp_path / "rodflow").mkdir()
    (tmp_path / "rodflow" / "a.py").write_text("1\n")
    git("add", "rodflow")
    git("commit", "-qm", "one")
    assert measured.commit() == git("rev-parse", "HEAD")
    (tmp_path / "README.md").write_text("not a file that numbers depend on\n")
    assert measured.commit() == git("rev-parse", "HEAD")
    (tmp_path / "rodflow" / "a.py").write_text("2\n")
    assert measured.commit() == git("rev-parse", "HEAD") + "+"
    shutil.rmtree(tmp_path / ".git")
