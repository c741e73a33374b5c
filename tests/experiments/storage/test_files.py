import errno
import os

import pytest

from experiments.storage.files import write_atomically


def test_replaces_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if step == "write":  # what is written to the temporary file goes to a device that is full
            (tmp_path / f".file.{os.getpid()}.tmp").symlink_to("/dev/full")
        elif step == "fsync":
            patch.setattr("os.fsync", full)
        else:
            patch.setattr("pathlib.Path.replace", full)
        with pytest.raises(OSError, match="No space left") as caught:
            write_atomically(path, b"new" * 100_000)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_names_the_file_whose_folder_is_missing(tmp_path):
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(path, b"")
    assert caught.value.filename == str(path)
