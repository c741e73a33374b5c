import errno
import json
import os

import pytest
import yaml

from experiments.storage.files import check_sum, load_text, save_text, summed, write_atomically


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


def test_a_text_is_read_as_it_was_written_and_with_a_comment_for_people(tmp_path):
    path = tmp_path / "config.yaml"
    save_text(path, "a: 1\nb: é\n")
    assert load_text(path) == "a: 1\nb: é\n"
    assert path.read_text().startswith("a: 1\nb: é\n# sha256 of all above: ")
    assert yaml.safe_load(path.read_text()) == {"a": 1, "b": "é"}
    path.write_text("by: hand\n")
    assert load_text(path) == "by: hand\n"


def test_a_checksum_is_of_the_content_and_not_of_its_layout(tmp_path):
    content = {"b": [1.5, None], "a": {"x": "é"}}
    whole = summed(content)
    assert list(whole) == ["b", "a", "checksum"]
    turned = dict(reversed(json.loads(json.dumps(whole, indent=1)).items()))
    assert check_sum(tmp_path, turned) == content == check_sum(tmp_path, content)
    with pytest.raises(ValueError, match="is damaged; delete it and repeat"):
        check_sum(tmp_path, whole | {"b": [1.25, None]})
