import json

import pytest

from experiments.benchmarks.process import accelerators, measured


def test_a_function_is_called_in_another_process_with_its_arguments():
    assert measured(json.dumps, {"a": [1, 2.5, None]}) == '{"a": [1, 2.5, null]}'


def test_where_there_is_no_accelerator_none_is_found(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert measured(accelerators, devices=2) == []


def test_a_failure_is_not_taken_for_a_result():
    with pytest.raises(Exception, match="exit status 1"):
        measured(json.loads, "no JSON")
