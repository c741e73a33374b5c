"""Logs of a training loop, as CSV and as JSON lines."""

import json

import numpy as np
import pytest

from experiments.storage import logs


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_the_same_numbers_from_each_kind_of_file(tmp_path, suffix):
    lines = [{"step": 0, "loss": 2.5, "host": "a"}, {"step": 10, "loss": 1.5, "host": "b"}]
    if suffix == ".csv":
        text = "step,loss,host\n0,2.5,a\n10,1.5,b\n"
    else:
        text = "\n".join(map(json.dumps, lines)) + "\n"
    log = logs.read(written(tmp_path, f"run{suffix}", text))
    np.testing.assert_array_equal(log.step, [0, 10])
    np.testing.assert_array_equal(log.loss, [2.5, 1.5])
    assert list(log.data_vars) == ["loss"]
    assert log.attrs == {"title": "run", "folder": f"run{suffix}", "ignored": "host"}


def test_nested_dictionaries_and_missing_values(tmp_path):
    lines = [{"edge": {"head": 0.5, "body": {"w": 1.0}}}, {"edge": {"head": float("nan")}}]
    log = logs.read(written(tmp_path, "run.jsonl", "\n".join(map(json.dumps, lines))))
    np.testing.assert_array_equal(log.step, [0, 1])
    np.testing.assert_array_equal(log["edge/head"], [0.5, np.nan])
    np.testing.assert_array_equal(log["edge/body/w"], [1.0, np.nan])


def test_of_a_step_that_is_logged_twice_the_last_line_counts(tmp_path):
    log = logs.read(written(tmp_path, "run.csv", "step,loss\n0,9\n1,8\n2,7\n1,5\n2,4\n3,3\n"))
    np.testing.assert_array_equal(log.step, [0, 1, 2, 3])
    np.testing.assert_array_equal(log.loss, [9, 5, 4, 3])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("run.txt", "step,loss\n0,1\n", r"run.txt: a log ends in .csv, .jsonl or .json"),
        ("run.csv", "", r"run.csv: no column has a number"),
        ("run.csv", "step\n0\n1\n", r"run.csv: no column has a number"),
        ("run.csv", "step,loss\n0,1\nx,2\n", r"run.csv: entry 2 has no number for its step"),
        ("run.jsonl", '{"loss": 1}\n[1]\n', r"run.jsonl, line 2: no JSON object"),
        ("run.jsonl", '{"loss": 1}\n{"los', r"run.jsonl, line 2: no JSON object"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, name, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        logs.read(written(tmp_path, name, text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "run.csv"
    path.write_bytes(b"step,loss\n\xff\xfe\x00,1\n")
    with pytest.raises(ValueError, match=r"run\.csv: no text of lines"):
        logs.read(path)
