import os
from pathlib import Path

from experiments.benchmarks import processes as benchmark


def test_processes_need_a_core_each(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert list(benchmark.processes()) == [
        "processes: left out, there are no two cores to give them"
    ]


def test_one_process_is_compared_with_two_after_compiling(monkeypatch):
    calls = []

    def swept(folder, on, count):
        calls.append((on, count))
        assert not Path(folder).exists()
        return 10.0 * count / len(on), 9.0

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    monkeypatch.setattr(benchmark, "swept", swept)
    (table,) = benchmark.processes()
    assert calls == [([3], 1), ([3], 48), ([3, 5], 48)]
    assert table.rows == [["1", "480.0", "9.0"], ["2", "240.0", "9.0"]]
