import errno
import os

import pytest
import yaml

from experiments.storage.files import (
    load_text,
    save_text,
    with_checksum,
    without_checksum,
    write_atomically,
)


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


def test_a_checksum_is_of_the_content_and_not_of_its_layout():
    content = {"a": [1.5, None, "x"], "b": {"d": 1, "c": 2}}
    sealed = with_checksum(content)
    assert list(sealed) == ["a", "b", "sha256"] and without_checksum(sealed) == content
    turned = {"b": {"c": 2, "d": 1}, "sha256": sealed["sha256"], "a": [1.5, None, "x"]}
    assert without_checksum(turned) == content


@pytest.mark.parametrize(
    "changed", [{"a": [1.5, None, "y"]}, {"a": [1.25, None, "x"]}, {"c": 1}, {"sha256": "0" * 64}]
)
def test_content_that_was_changed_does_not_have_its_checksum(changed):
    with pytest.raises(ValueError, match="does not have its checksum"):
        without_checksum(with_checksum({"a": [1.5, None, "x"]}) | changed)


def test_content_without_a_checksum_is_not_taken():
    with pytest.raises(ValueError, match="does not have its checksum"):
        without_checksum({"a": 1})


def test_a_text_is_read_as_it_was_written_and_with_a_comment_for_people(tmp_path):
    path = tmp_path / "config.yaml"
    save_text(path, "a: 1\nb: é\n")
    assert load_text(path) == "a: 1\nb: é\n"
    assert path.read_text().startswith("a: 1\nb: é\n# sha256 of all above: ")
    assert yaml.safe_load(path.read_text()) == {"a": 1, "b": "é"}
    path.write_text("by: hand\n")
    assert load_text(path) == "by: hand\n"
